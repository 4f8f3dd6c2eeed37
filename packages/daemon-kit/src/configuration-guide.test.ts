import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { parseConfigFile } from './config-file.js';
import { formatDuration, parseDuration } from './duration.js';
import { timeoutSettings } from './timeouts.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const guide = readFileSync(join(ROOT, 'docs', 'configuration.md'), 'utf8');

/** The text of every source file of the apps and packages, tests left out. */
function readSources(): string[] {
  return ['apps', 'packages'].flatMap((group) =>
    readdirSync(join(ROOT, group)).flatMap((name) => {
      const folder = join(ROOT, group, name, 'src');
      return readdirSync(folder, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.endsWith('.ts') && !/\.test\.ts$|(^|\/)testing\//.test(file))
        .map((file) => readFileSync(join(folder, file), 'utf8'));
    }),
  );
}

const source = readSources().join('\n');

function namesIn(pattern: RegExp, text: string): string[] {
  return [...new Set([...text.matchAll(pattern)].map((match) => String(match[1] ?? match[0])))].sort();
}

describe('the configuration guide', () => {
  const variables = namesIn(/\bRBEE_[A-Z_]*[A-Z]\b/g, source);
  const keys = namesIn(/\bfile: '([a-z_]+\.[a-z_]+)'/g, source);

  it('is compared with settings that were found', () => {
    expect(variables).toContain('RBEE_QUEEN_PORT');
    expect(keys).toContain('paths.models_dir');
  });

  it.each(variables.filter((name) => name !== 'RBEE_T'))('lists the variable %s', (name) => {
    expect(guide).toContain(`\`${name}\``);
  });

  it.each(keys)('lists the key %s', (key) => {
    expect(guide).toContain(`| \`${key}\` |`);
  });

  it.each(Object.entries(timeoutSettings))('lists the time limit %s with its default', (name, { default: ms }) => {
    const [, shown] = new RegExp(`^\\| \`${name}\` \\| \`([^\`]+)\` \\|`, 'm').exec(guide) ?? [];
    expect(formatDuration(parseDuration(shown ?? '') ?? -1)).toBe(formatDuration(ms));
  });

  it('names no variable that the programs do not read', () => {
    const named = namesIn(/`(RBEE_[A-Z_]+)`/g, guide);
    expect(named.filter((name) => !variables.includes(name) && name !== 'RBEE_T_NAME')).toEqual([]);
  });

  it('shows a file with known keys only', () => {
    const example = guide
      .split('\n')
      .filter((line) => line.startsWith('    '))
      .map((line) => line.slice(4))
      .join('\n');
    const shown = Object.entries(parseConfigFile('the example', example)).flatMap(([section, body]) =>
      Object.keys(body as object).map((key) => `${section}.${key}`),
    );
    const known = [...keys, ...Object.keys(timeoutSettings).map((name) => `timeouts.${name}`)];
    expect(shown.filter((key) => !known.includes(key))).toEqual([]);
    expect(shown.length).toBeGreaterThan(3);
  });
});
