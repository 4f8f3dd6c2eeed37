import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { VERSION } from '@rbee/protocol';
import { checkCallerVersion, checkHiveVersion } from './check-version.js';

const manifest = new URL('../../../../package.json', import.meta.url);
const { packageManager } = JSON.parse(readFileSync(manifest, 'utf8')) as { packageManager: string };

describe('checkHiveVersion', () => {
  it('accepts a hive of its own version', () => {
    expect(() => checkHiveVersion('attic', VERSION)).not.toThrow();
  });

  it.each([
    ['0.2.0', `git pull && npx --yes ${packageManager} build`],
    ['0.10.0', 'rbee-keeper queen stop'],
    ['0.0.9', 'rbee-keeper setup install --node attic'],
  ])('names both versions and, for a hive of %s, the command that brings the older side up', (hive, command) => {
    expect(() => checkHiveVersion('attic', hive)).toThrow(
      expect.objectContaining({
        code: 'VERSION_MISMATCH',
        message: `the hive of attic has version ${hive}, this queen ${VERSION}`,
        details: { node: 'attic', hive_version: hive, queen_version: VERSION },
        suggestion: expect.stringContaining(command),
      }),
    );
  });
});

describe('checkCallerVersion', () => {
  it.each([undefined, VERSION, ['0.2.0', '0.3.0']])('accepts %j', (caller) => {
    expect(() => checkCallerVersion(caller)).not.toThrow();
  });

  it.each([
    ['0.2.0', '0.2.0'],
    ['<script>', 'unknown'],
  ])('refuses %s as %s', (caller, shown) => {
    expect(() => checkCallerVersion(caller)).toThrow(
      expect.objectContaining({
        code: 'VERSION_MISMATCH',
        details: { keeper_version: shown, queen_version: VERSION },
        suggestion: expect.stringContaining('rbee-keeper queen stop'),
      }),
    );
  });
});
