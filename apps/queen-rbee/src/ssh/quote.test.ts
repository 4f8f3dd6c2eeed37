import { execFileSync } from 'node:child_process';
import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { REMOTE_SHELL, readScriptPid, shellInput, shellWords } from './quote.js';

/** What a program gets as its arguments when the shell reads these words. */
function readBack(values: readonly string[]): string[] {
  const program = `${shellWords([process.execPath, '-e', 'console.log(JSON.stringify(process.argv.slice(1)))', '--'])}`;
  const output = execFileSync(REMOTE_SHELL, { input: `${program} ${shellWords(values)}`, encoding: 'utf8' });
  return JSON.parse(output) as string[];
}

const HOSTILE = [
  '',
  ' ',
  'two words',
  "'",
  "''",
  "it's",
  `"'"'"`,
  '$(touch /tmp/never)',
  '`id`',
  '$HOME',
  '\\',
  '\\n',
  'a\nb\n',
  '\r',
  '\t',
  '-n',
  '--',
  ';exit 1',
  '&& false',
  '| cat',
  '> /dev/null',
  '*',
  '?',
  '~',
  '#',
  '!',
  '{a,b}',
  '()',
  'käse 🐝',
  '\x1b[31m',
];

it('gives back every hostile value', () => {
  expect(readBack(HOSTILE)).toEqual(HOSTILE);
});

it('gives back any values', () => {
  const value = fc.string({ unit: fc.constantFrom(...'\'"\\$`();&|<>*?~#!{}[] \n\t\r-=aé🐝') });
  fc.assert(
    fc.property(fc.array(fc.array(value), { minLength: 40, maxLength: 40 }), (lists) => {
      // One shell for many lists, to have many of them in little time.
      const values = lists.flat();
      expect(readBack(values)).toEqual(values);
    }),
    { numRuns: 15 },
  );
});

it('refuses a NUL', () => {
  expect(() => shellWords(['a\0b'])).toThrow('NUL');
});

it('hands a script its arguments and an empty standard input', () => {
  const run = (script: string, args: readonly string[]) =>
    execFileSync(REMOTE_SHELL, {
      input: shellInput(script, args),
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'ignore'],
    });
  expect(run('cat; printf "%s|" "$#" "$@" # end', ['a b', "'"])).toBe("2|a b|'|");
  expect(run('echo $#\ncat <<END\n$1\nEND', [])).toBe('0\n\n');
});

it('does not begin with a script that is cut off', () => {
  const input = shellInput('echo begun', []);
  const cut = input.slice(0, input.indexOf('begun') + 6);
  expect(() =>
    execFileSync(REMOTE_SHELL, { input: cut, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] }),
  ).toThrow();
});

it('tells its process id apart from other lines', () => {
  expect(readScriptPid('rbee-script-pid:12')).toBe(12);
  expect(readScriptPid('a line')).toBeUndefined();
});
