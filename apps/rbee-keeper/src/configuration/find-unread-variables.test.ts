import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';
import { findUnreadVariables } from './find-unread-variables.js';

describe('findUnreadVariables', () => {
  it('finds what was mistyped, and leaves other programs alone', () => {
    const variables = { RBEE_QUEN_PORT: '1', RBEE_ZEBRA: '1', RBEE_QUEEN_PORT: '8080', PATH: '/bin', HF_TOKEN: 'x' };
    expect(findUnreadVariables(variables)).toEqual([
      { name: 'RBEE_QUEN_PORT', meant: 'RBEE_QUEEN_PORT' },
      { name: 'RBEE_ZEBRA', meant: undefined },
    ]);
  });

  it('knows every variable of the guide', () => {
    const guide = readFileSync(fileURLToPath(new URL('../../../../docs/configuration.md', import.meta.url)), 'utf8');
    const named = [...guide.matchAll(/`(RBEE_[A-Z_]+)`/g)].map(([, name]) => [String(name), 'x'] as const);
    const { RBEE_T_NAME: _placeholder, ...variables } = Object.fromEntries(named);
    expect(Object.keys(variables).length).toBeGreaterThan(20);
    expect(findUnreadVariables(variables)).toEqual([]);
  });
});
