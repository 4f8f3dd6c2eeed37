import assert from 'node:assert/strict';

/** Checks that a JSON value has at least the given fields. */
export function assertHas(actual: unknown, expected: unknown, what: string): void {
  if (typeof expected !== 'object' || expected === null || Array.isArray(expected)) {
    assert.deepEqual(actual, expected, what);
    return;
  }
  for (const [key, value] of Object.entries(expected)) {
    assertHas(
      (actual as Record<string, unknown> | undefined)?.[key],
      value,
      `${what}: ${key} in ${JSON.stringify(actual)}`,
    );
  }
}

/** Whether a JSON value has at least the given fields. */
export function has(actual: unknown, expected: Record<string, unknown>): boolean {
  return Object.entries(expected).every(([key, value]) => {
    const given = (actual as Record<string, unknown> | undefined)?.[key];
    return JSON.stringify(given) === JSON.stringify(value);
  });
}
