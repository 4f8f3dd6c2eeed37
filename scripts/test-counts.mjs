import { existsSync, readFileSync } from 'node:fs';
import { parseMessages, readScenarios } from './scenario-table.mjs';

/** @typedef {{ passed: number, failed: number, skipped: number }} Counts */

/**
 * Counts of a jest --json report. A file that could not even be loaded counts as one failed test.
 *
 * @param {string} file
 * @returns {Counts}
 */
export function jestCounts(file) {
  if (!existsSync(file)) return { passed: 0, failed: 0, skipped: 0 };
  const report = JSON.parse(readFileSync(file, 'utf8'));
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/**
 * Counts of a Cucumber message report. A scenario is as good as its worst step; undefined, ambiguous and pending steps fail
 * it, and so do a second attempt and a run that ended before it.
 *
 * @param {string} file
 * @returns {Counts}
 */
export function cucumberCounts(file) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (!existsSync(file)) return counts;
  for (const { planned, result } of readScenarios(parseMessages(readFileSync(file, 'utf8')))) {
    if (planned) counts[result === 'passed' || result === 'skipped' ? result : 'failed'] += 1;
  }
  return counts;
}

/**
 * The summary line.
 *
 * @param {Counts} counts
 */
export function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
