import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import {
  defaultOf,
  parseConfigFile,
  resolveSettings,
  type Setting,
  type SettingName,
  settingCatalogue,
} from '@rbee/daemon-kit/client';
import { renderExample } from './render-example.js';

const ENVIRONMENT = { variables: {}, home: '/home/me', cwd: '/' };
const entries = Object.entries<Setting>(settingCatalogue) as [SettingName, Setting][];
const text = renderExample();

/** What the programs get of a file. */
function load(example: string) {
  const file = { name: '/etc/rbee/config.toml', content: parseConfigFile('the example', example) };
  return resolveSettings(settingCatalogue, { ...ENVIRONMENT, file });
}

describe('the example of a configuration file @L176', () => {
  it('is the one among the documents', () => {
    const root = fileURLToPath(new URL('../../../..', import.meta.url));
    expect(readFileSync(join(root, 'docs', 'config.example.toml'), 'utf8')).toBe(text);
  });

  it('changes nothing as it is', () => {
    const { values, origins } = load(text);
    expect(new Set(Object.values(origins).map(({ origin }) => origin))).toEqual(new Set(['default']));
    expect(values).toEqual(resolveSettings(settingCatalogue, ENVIRONMENT).values);
  });

  it('is valid with every line taken in, and says what holds anyway wherever there is a default', () => {
    const { values, origins } = load(text.replace(/^#(?=\w+ = )/gm, ''));
    for (const [name, entry] of entries) {
      const isThere = entry.file !== undefined && entry.readBy?.length !== 0;
      expect([name, origins[name].origin]).toEqual([name, isThere ? 'file' : 'default']);
      if (entry.default !== undefined) expect([name, values[name]]).toEqual([name, defaultOf(entry, ENVIRONMENT)]);
    }
  });

  it('explains every key in lines that can be read', () => {
    for (const line of text.split('\n')) {
      expect(line).toMatch(/^(#( .*)?|#\w+ = .+|\[\w+\]|)$/);
      expect(line.length).toBeLessThanOrEqual(100);
    }
    for (const [, { file, describe: what, readBy }] of entries) {
      const isThere = file !== undefined && readBy?.length !== 0;
      const words = text.replace(/\n# /g, ' ');
      if (isThere) expect(words).toContain(String(what));
    }
  });
});
