/**
 * Adds up what the scenarios looked at for secrets (reports/secrets.ndjson): `node scripts/secret-report.mjs` after a run.
 * Exit code 1 when a secret was found where it must not be, or when nothing was looked at.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from './run.mjs';

const report = join(root, 'reports', 'secrets.ndjson');

/** Forgets earlier runs; each run adds to the file. */
export function clearSecretReport() {
  rmSync(report, { force: true });
}

/**
 * The closing line, and whether all is well.
 *
 * @returns {{ text: string, ok: boolean }}
 */
export function readSecretReport(file = report) {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  const scenarios = lines.map((line) => JSON.parse(line));
  const sum = (key) => scenarios.reduce((total, scenario) => total + scenario[key], 0);
  const [secrets, texts] = [sum('secrets'), sum('texts')];
  const leaks = scenarios.flatMap(({ scenario, leaks }) => leaks.map((leak) => `${scenario}: ${leak}`));
  const looked = `Secrets: ${secrets} looked for in ${texts} texts of ${scenarios.length} scenarios`;
  if (leaks.length > 0) return { text: [`${looked}, found:`, ...leaks].join('\n  '), ok: false };
  if (secrets === 0 || texts === 0) return { text: `${looked}: the watch saw nothing to look for`, ok: false };
  return { text: `${looked}, none found`, ok: true };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { text, ok } = readSecretReport();
  console.log(text);
  process.exitCode = ok ? 0 : 1;
}
