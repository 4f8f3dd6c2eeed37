import { existsSync, readFileSync } from 'node:fs';

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
 * Counts of a Cucumber message report. A scenario is as good as its worst step; undefined, ambiguous and pending steps
 * fail it, and of a retried one only the last attempt counts.
 *
 * @param {string} file
 * @returns {Counts}
 */
export function cucumberCounts(file) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (!existsSync(file)) return counts;
  const statuses = new Map();
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const { testStepFinished: step, testCaseFinished: end } = JSON.parse(line);
    if (step) {
      const seen = statuses.get(step.testCaseStartedId) ?? new Set();
      statuses.set(step.testCaseStartedId, seen.add(step.testStepResult.status));
    }
    if (end && !end.willBeRetried) {
      const seen = [...(statuses.get(end.testCaseStartedId) ?? [])];
      if (seen.some((status) => status !== 'PASSED' && status !== 'SKIPPED')) counts.failed += 1;
      else if (seen.includes('SKIPPED')) counts.skipped += 1;
      else counts.passed += 1;
    }
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
