import { describe, expect, it } from '@jest/globals';
import type { RbeeError } from '@rbee/protocol';
import { ChunkPacer } from './chunk-pacer.js';
import { DecodeLoop, type Member } from './decode-loop.js';

/** A generation that records in which steps it took part, and how much of its prompt each could take. */
class Recorder implements Member {
  readonly shares: number[] = [];
  ready = true;
  done = false;
  constructor(
    private readonly world: { step: number; log: string[] },
    private readonly name: string,
    public promptLeft: number,
    private tokens: number,
    readonly exact = false,
    readonly unusual = false,
  ) {}

  abandoned: RbeeError | undefined;

  abandon(reason: RbeeError): void {
    this.abandoned = reason;
  }

  async step(share: number): Promise<void> {
    this.world.log.push(`${this.name}${this.world.step}`);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.promptLeft > 0) {
      this.shares.push(share);
      this.promptLeft -= share;
    } else if (--this.tokens === 0) this.done = true;
  }
}

function setUp(chunk = 64) {
  const world = { step: 0, log: [] as string[] };
  // Each step reads the clock only when a prompt takes part; counting turns of the event loop tells the steps apart.
  const decoded: number[] = [];
  const broken: RbeeError[] = [];
  const loop = new DecodeLoop({
    pacer: new ChunkPacer(chunk),
    now: () => world.step,
    onDecoded: (_ms, answers) => decoded.push(answers),
    onBroken: (error) => broken.push(error),
  });
  const count = (): void => {
    world.step++;
    if (world.step < 50) setImmediate(count);
  };
  setImmediate(count);
  return { world, loop, decoded, broken };
}

describe('DecodeLoop', () => {
  it('moves all members in common steps, and lets them join and leave between steps', async () => {
    const { world, loop } = setUp();
    const [a, b, c] = [new Recorder(world, 'a', 0, 3), new Recorder(world, 'b', 0, 1), new Recorder(world, 'c', 0, 2)];
    loop.add(a);
    loop.add(b);
    setImmediate(() => loop.add(c));
    await loop.idle();
    expect([a.done, b.done, c.done]).toEqual([true, true, true]);
    const steps = world.log.map((entry) => entry.slice(1));
    expect(new Set(steps).size).toBeLessThanOrEqual(4);
    expect(world.log.filter((entry) => entry.startsWith('a'))).toHaveLength(3);
    expect(world.log.filter((entry) => entry.startsWith('c'))).toHaveLength(2);
  });

  it('cuts a prompt into pieces while others generate', async () => {
    const { world, loop, decoded } = setUp(64);
    const prompt = new Recorder(world, 'p', 200, 1);
    const answer = new Recorder(world, 'a', 0, 10);
    loop.add(answer);
    loop.add(prompt);
    await loop.idle();
    expect(prompt.shares.length).toBeGreaterThan(1);
    expect(prompt.shares.reduce((sum, share) => sum + share, 0)).toBe(200);
    expect(answer.done).toBe(true);
    expect(decoded.reduce((sum, answers) => sum + answers, 0)).toBe(11 - prompt.shares.length);
  });

  it('always cuts a prompt that must be exact in the same way', async () => {
    const { world, loop } = setUp(64);
    const prompt = new Recorder(world, 'p', 200, 1, true);
    loop.add(prompt);
    await loop.idle();
    expect(prompt.shares).toEqual([64, 64, 64, 8]);
  });

  it('leaves out who is not ready, and goes on when woken', async () => {
    const { world, loop } = setUp();
    const waiting = new Recorder(world, 'w', 0, 1);
    waiting.ready = false;
    loop.add(waiting);
    const other = new Recorder(world, 'o', 0, 2);
    loop.add(other);
    while (!other.done) await new Promise((resolve) => setImmediate(resolve));
    expect(world.log.filter((entry) => entry.startsWith('w'))).toEqual([]);
    waiting.ready = true;
    loop.wake();
    await loop.idle();
    expect(waiting.done).toBe(true);
  });

  it('starts again after it was idle', async () => {
    const { world, loop } = setUp();
    loop.add(new Recorder(world, 'a', 0, 1));
    await loop.idle();
    const second = new Recorder(world, 'b', 0, 1);
    loop.add(second);
    await loop.idle();
    expect(second.done).toBe(true);
  });

  it('learns nothing from a step that an unusual member takes part in', async () => {
    const { world, loop, decoded } = setUp();
    loop.add(new Recorder(world, 'a', 0, 3));
    loop.add(new Recorder(world, 'u', 0, 1, false, true));
    await loop.idle();
    expect(decoded).toEqual([1, 1]);
  });

  it('says since when it is in a step, and nothing while it waits for a reader or for work', async () => {
    const { world, loop } = setUp();
    const seen: (number | undefined)[] = [];
    const member = new Recorder(world, 'a', 0, 2);
    member.step = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(loop.stepStart);
      member.ready = false;
      member.done = seen.length === 2;
    };
    loop.add(member);
    while (seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(loop.stepStart).toBeUndefined();
    member.ready = true;
    loop.wake();
    await loop.idle();
    expect(seen).toEqual([expect.any(Number), expect.any(Number)]);
    expect(loop.stepStart).toBeUndefined();
  });

  it('abandons everybody, now and later, when it fails itself', async () => {
    const { world, loop, broken } = setUp();
    const [a, b, late] = ['a', 'b', 'c'].map((name) => new Recorder(world, name, 0, 5)) as [
      Recorder,
      Recorder,
      Recorder,
    ];
    b.step = () => Promise.reject(new Error('no such sequence'));
    loop.add(a);
    loop.add(b);
    await loop.idle();
    loop.add(late);
    const told = { code: 'INFERENCE_FAILED', message: expect.stringContaining('no such sequence') };
    expect([a.abandoned, b.abandoned, late.abandoned]).toEqual([1, 2, 3].map(() => expect.objectContaining(told)));
    expect(broken).toEqual([expect.objectContaining(told)]);
    expect(loop.stepStart).toBeUndefined();
  });
});
