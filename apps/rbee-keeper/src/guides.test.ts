import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { ERROR_CATALOGUE } from '@rbee/protocol';
import { readCommandLine } from './command-line.js';
import { commandTable } from './command-table.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

function readGuide(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** The command lines of a guide's blocks, without comments and without what they are piped into. */
function commandsIn(text: string): string[][] {
  return [...text.matchAll(/^ {4}rbee-keeper (\S.*)$/gm)]
    .map(([, line = '']) => line.replace(/ {2,}#.*$| \| .*$/, ''))
    .filter((line) => !/[─═]/.test(line))
    .map((line) => [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? ''));
}

describe.each([
  ['README.md', 6],
  ['docs/models.md', 6],
  ['docs/several-machines.md', 6],
  ['docs/tasks.md', 6],
  ['docs/configuration.md', 2],
])('%s', (file, least) => {
  it('shows commands that can be typed', async () => {
    const commands = commandsIn(readGuide(file));
    expect(commands.length).toBeGreaterThanOrEqual(least);
    for (const args of commands) expect(await readCommandLine(args, 100)).toBeDefined();
  });
});

describe.each([
  ['docs/several-machines.md', /^SSH_/],
  ['docs/tasks.md', /^(QUEUE_FULL|DEADLINE_UNREACHABLE|REQUEST_TIMEOUT|CANCELLED|RESUME_IMPOSSIBLE)$/],
  ['docs/models.md', /^(MODEL_(?!LOAD)|DOWNLOAD_|CHECKSUM|DISK|INSUFFICIENT|CATALOG)/],
])('%s', (file, subject) => {
  it('explains codes that there are, and every one of its subject', () => {
    const [, table = ''] = readGuide(file).split('## Errors');
    const rows = table.split('\n').map((row) => row.split('|')[1] ?? '');
    const explained = rows.flatMap((cell) => [...cell.matchAll(/`([A-Z_]+)`/g)].map(([, code = '']) => code));
    const known = Object.keys(ERROR_CATALOGUE);
    expect(explained.filter((code) => !known.includes(code))).toEqual([]);
    expect(known.filter((code) => subject.test(code) && !explained.includes(code))).toEqual([]);
  });
});

describe('docs/models.md', () => {
  it('lists every command about models', () => {
    const listed = [...readGuide('docs/models.md').matchAll(/^\| `models (\w+)/gm)].map(([, verb]) => verb);
    expect(listed).toEqual(commandTable.flatMap(({ path }) => (path[0] === 'models' ? [path[1]] : [])));
  });
});
