import { describe, expect, it } from '@jest/globals';
import { DEFAULT_TIMEOUTS, orAborted, type Spoken } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { RbeeError } from '@rbee/protocol';
import { connectHive } from './connect-hive.js';
import type { HiveHealth, Link } from './link.js';

const health: HiveHealth = { status: 'alive', version: '0.1.0', api_version: 'v1', pid: 7 };
const refusal = () => new RbeeError('CONNECTION_TIMEOUT', 'no', { details: { cause: 'EHOSTUNREACH' } });

describe('connectHive', () => {
  const build = (findHive: (signal: AbortSignal) => Promise<HiveHealth | undefined>, kind: Link['kind'] = 'direct') => {
    const clock = new ManualClock();
    const said: Spoken[] = [];
    const link = {
      kind,
      node: 'gpu-box',
      hive: { clock, transport: { peer: { name: 'rbee-hive', url: 'http://192.0.2.7:9200' } } },
      reach: async () => undefined,
      findHive,
    } as unknown as Link;
    const context = { clock, timeouts: DEFAULT_TIMEOUTS, variables: { RBEE_NO_JITTER: '1' } };
    return {
      clock,
      said,
      link,
      connect: (more = {}) => connectHive(link, (s) => said.push(s), { ...context, ...more }),
    };
  };

  it('resolves at the first answer, and where nothing listens', async () => {
    expect(await build(async () => health).connect()).toBe(health);
    const { connect, said } = build(async () => undefined);
    expect(await connect()).toBeUndefined();
    expect(said.map(({ human }) => human)).toEqual([
      'asking the hive at 192.0.2.7, port 9200 (attempt 1/3, timeout 10 s)',
    ]);
  });

  it('says nothing of a hive of this machine that answers', async () => {
    const { connect, said } = build(async () => health, 'local');
    await connect();
    expect(said).toEqual([]);
  });

  it('makes three attempts of 10 s with waits of 0, 200 and 400 ms, and tells each', async () => {
    const startedAt: number[] = [];
    const silent = build((signal) => {
      startedAt.push(silent.clock.monotonic());
      return orAborted(new Promise<undefined>(() => undefined), signal);
    });
    const begin = silent.clock.monotonic();
    const connecting = silent.connect();
    connecting.catch(() => undefined);
    await silent.clock.advance(31_000);
    await expect(connecting).rejects.toMatchObject({
      code: 'CONNECTION_TIMEOUT',
      message: 'the hive of gpu-box cannot be reached on port 9200 after 3 attempts: timed out',
      details: { node: 'gpu-box', host: '192.0.2.7', port: 9200, attempts: 3, timeout_ms: 10_000 },
      suggestion: 'check that the hive runs: rbee-keeper hive status --node gpu-box',
    });
    expect(startedAt.map((at) => at - begin)).toEqual([0, 10_200, 20_600]);
    expect(silent.said.map(({ human }) => human)).toEqual([
      'asking the hive at 192.0.2.7, port 9200 (attempt 1/3, timeout 10 s)',
      'attempt 2/3 after 200 ms: 192.0.2.7, port 9200, timeout 10 s: timed out',
      'attempt 3/3 after 400 ms: 192.0.2.7, port 9200, timeout 10 s: timed out',
    ]);
    expect(silent.clock.pending).toBe(0);
  });

  it('goes on after an attempt that failed', async () => {
    let attempts = 0;
    const { connect, clock } = build(async () => {
      if (++attempts === 1) throw refusal();
      return health;
    });
    const connecting = connect();
    await clock.advance(200);
    expect(await connecting).toBe(health);
  });

  it('makes one attempt where that is wanted', async () => {
    const { connect } = build(() => Promise.reject(refusal()));
    await expect(connect({ variables: { RBEE_NO_RETRY: '1' } })).rejects.toMatchObject({
      message: 'the hive of gpu-box cannot be reached on port 9200 after 1 attempt: EHOSTUNREACH',
    });
  });

  it('makes no second attempt with what another one would not change', async () => {
    let attempts = 0;
    const { connect } = build(() => {
      attempts++;
      return Promise.reject(new RbeeError('INVALID_RESPONSE', 'something else'));
    });
    await expect(connect()).rejects.toMatchObject({ code: 'INVALID_RESPONSE' });
    expect(attempts).toBe(1);
  });

  it('ends with its caller', async () => {
    const { connect, clock } = build((signal) => orAborted(new Promise<undefined>(() => undefined), signal));
    const abort = new AbortController();
    const connecting = connect({ signal: abort.signal });
    abort.abort(new RbeeError('CANCELLED', 'enough'));
    await expect(connecting).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(clock.pending).toBe(0);
  });
});
