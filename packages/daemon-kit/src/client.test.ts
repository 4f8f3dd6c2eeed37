import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import * as client from './client.js';
import * as whole from './index.js';

const FOLDER = import.meta.dirname;

/** The packages that a source file loads, itself or through the files that it imports; types load nothing. */
function packagesOf(file: string, seen = new Set<string>()): Set<string> {
  const packages = new Set<string>();
  if (seen.has(file)) return packages;
  seen.add(file);
  const source = readFileSync(join(FOLDER, file), 'utf8');
  for (const [, from = ''] of source.matchAll(/^(?:import|export)(?! type)[^;]*? from '([^']+)';/gm)) {
    if (!from.startsWith('.')) packages.add(from);
    else for (const name of packagesOf(from.replace(/\.js$/, '.ts'), seen)) packages.add(name);
  }
  return packages;
}

it('gives the same things as the whole package', () => {
  for (const [name, value] of Object.entries(client)) expect(whole).toHaveProperty(name, value);
});

it('loads no HTTP server framework and no logger, which the whole package does', () => {
  const heavy = ['express', 'pino'];
  expect([...packagesOf('client.ts')].filter((name) => heavy.includes(name))).toEqual([]);
  expect([...packagesOf('index.ts')]).toEqual(expect.arrayContaining(heavy));
});
