import assert from 'node:assert/strict';

/** Checks that a JSON value has at least the given fields; an array as many items, each with at least the given fields. */
export function assertHas(actual: unknown, expected: unknown, what: string): void {
  if (Array.isArray(expected)) {
    assert(Array.isArray(actual) && actual.length === expected.length, `${what}: ${JSON.stringify(actual)}`);
    for (const [index, item] of expected.entries()) assertHas(actual[index], item, `${what}[${index}]`);
    return;
  }
  if (typeof expected !== 'object' || expected === null) {
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
