import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { parseConfigFile } from './config-file.js';
import { formatDuration, parseDuration } from './duration.js';
import type { Setting } from './setting.js';
import { settingCatalogue } from './setting-catalogue.js';
import { resolveSettings } from './settings.js';
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

function plain(cell: string): string {
  return cell.replaceAll('`', '');
}

/** The default that a cell shows, as the program has it. */
function readDefault({ schema, kind }: Setting, cell: string): unknown {
  const text = plain(cell);
  return kind === 'duration' ? parseDuration(text) : schema.safeParse(text).data;
}

/** The words of a description that do not stand in a cell in the same order; the cell may have more. */
function wordsMissing(description: string, cell: string): string[] {
  const toWords = (text: string): string[] => plain(text).match(/[\w:.-]*\w/g) ?? [];
  const told = toWords(cell);
  return toWords(description).filter((word) => {
    const at = told.indexOf(word);
    told.splice(0, at + 1);
    return at < 0;
  });
}

describe('the configuration guide', () => {
  const variables = namesIn(/\bRBEE_[A-Z_]*[A-Z]\b/g, source);
  const entries = Object.values<Setting>(settingCatalogue).filter((entry) => !entry.file?.startsWith('timeouts.'));
  const named = entries.filter((entry) => entry.file !== undefined);
  const keys = named.filter(({ readBy }) => readBy?.length).map(({ file }) => String(file));
  const idle = named.filter(({ readBy }) => !readBy?.length).map(({ file }) => String(file));

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

  it.each(idle)('says of the key %s that it has no effect yet', (key) => {
    const [, kept] = /have no effect yet: ([^|]*?)\.\n/.exec(guide) ?? [];
    expect([`\`${key}\``, `\`${key.split('.')[0]}\``].some((name) => kept?.includes(name))).toBe(true);
  });

  it.each(Object.entries(timeoutSettings))('lists the time limit %s with its default', (name, { default: ms }) => {
    const [, shown] = new RegExp(`^\\| \`${name}\` \\| \`([^\`]+)\` \\|`, 'm').exec(guide) ?? [];
    expect(formatDuration(parseDuration(shown ?? '') ?? -1)).toBe(formatDuration(ms));
  });

  it('names no variable that the programs do not read', () => {
    const named = namesIn(/`(RBEE_[A-Z_]+)`/g, guide);
    expect(named.filter((name) => !variables.includes(name) && name !== 'RBEE_T_NAME')).toEqual([]);
  });

  it.each(entries)('says of $describe what the catalogue does', ({ file, env = [], describe: what, ...entry }) => {
    if (!entry.readBy?.length) return;
    const key = file === undefined ? '' : `\`${file}\``;
    const rows = guide.split('\n').map((line) => line.split(/ ?\| ?/).slice(1, -1));
    const [, named = '', shown = '', told = ''] =
      rows.find((cells) => cells[0] === key && (file !== undefined || cells[1]?.startsWith(`\`${env[0]}\``))) ?? [];
    expect(namesIn(/`(\w+)`/g, named)).toEqual([...env].sort());
    if (entry.default !== undefined) expect(readDefault(entry, shown)).toEqual(entry.default);
    else expect(plain(shown)).toContain(entry.shownDefault ?? '');
    expect(wordsMissing(String(what), told)).toEqual([]);
  });

  it('lists what counts without a restart, and nothing else', () => {
    const section = guide.split('\n## ').find((text) => text.startsWith('What can change while a daemon runs')) ?? '';
    const live = entries.filter(({ reload }) => reload === 'live').map(({ file }) => String(file));
    expect(namesIn(/`([a-z]+\.[a-z_]+)`/g, section)).toEqual(live.sort());
    const limits = Object.values(timeoutSettings);
    expect(limits.filter(({ reload }) => reload !== 'live')).toEqual([]);
  });

  it('shows a file that is valid', () => {
    const section = guide.split('\n## ').find((text) => text.startsWith('The configuration file')) ?? '';
    const example = section
      .split('\n')
      .filter((line) => /^ {4}(?!rbee-keeper )/.test(line))
      .map((line) => line.slice(4))
      .join('\n');
    const file = { name: '/the/example', content: parseConfigFile('the example', example) };
    const { origins } = resolveSettings(settingCatalogue, { variables: {}, home: '/home/me', cwd: '/', file });
    expect(Object.values(origins).filter(({ origin }) => origin === 'file').length).toBeGreaterThan(3);
  });
});

describe('the catalogue', () => {
  const entries = Object.entries<Setting>(settingCatalogue);

  it.each(entries)('has for %s all that people are told, and a way to set it', (_name, entry) => {
    const { describe: what, readBy, expected, env, file, reload } = entry;
    expect([what, expected].map((text) => text?.trim() || 'missing')).toEqual([what, expected]);
    expect(readBy).toBeDefined();
    expect(env ?? file).toBeDefined();
    if (reload === 'live') expect(readBy).not.toEqual([]);
  });

  it('has no key and no variable twice', () => {
    for (const list of [entries.map(([, { file }]) => file), entries.flatMap(([, { env }]) => env)]) {
      const set = list.filter((name) => name !== undefined);
      expect(set.filter((name, index) => set.indexOf(name) !== index)).toEqual([]);
    }
  });

  it.each(entries)('has a default for %s that its own schema accepts', (_name, { schema, default: value }) => {
    if (value !== undefined) expect(schema.safeParse(value).data).toEqual(value);
  });
});
