import { createCipheriv, createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from '@jest/globals';
import type { DownloadProgress } from '@rbee/protocol';
import type { HubRef } from '../hub/choose-variant.js';
import { DownloadStage } from './testing/download-stage.js';
import { digestOf, type ScriptedFault } from './testing/scripted-hub.js';

const SCRIPTS = 1000;
const AT_ONCE = 10;
// In memory where that can be had: thousands of files would each wait for the disk.
const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rbee-property-'));
afterAll(() => rmSync(root, { recursive: true }));

/** Random numbers that are the same in every run. */
function randomOf(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { below: (limit: number) => Math.floor(next() * limit), chance: (part: number) => next() < part };
}
type Random = ReturnType<typeof randomOf>;

/** Bytes that look random and are the same in every run. */
function bytesOf(seed: string, length: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

function randomFault(random: Random, sizeBytes: number, killHive: () => void): ScriptedFault {
  const at = random.below(sizeBytes + 1);
  const faults: ScriptedFault[] = [
    { cutAfter: at },
    { cutAfter: at },
    { stallAfter: at },
    { killAfter: at },
    { corruptAt: random.below(sizeBytes) },
    { ignoreRange: true, cutAfter: at },
    { extraBytes: 1 + random.below(100) },
    { meanwhile: { after: at, call: killHive } },
    { ignoreRange: true },
  ];
  const fault = faults[random.below(faults.length)] ?? {};
  return random.chance(0.2) ? { ...fault, corruptAt: random.below(sizeBytes) } : fault;
}

/** Runs one script until its model is there; returns what was wrong, if anything. */
async function runScript(seed: number): Promise<void> {
  const random = randomOf(seed);
  const stage = new DownloadStage(join(root, String(seed)));
  const ref: HubRef = { provider: 'hf', reference: 'org/repo', variant: 'Q4_K_M' };
  const parts = 1 + random.below(3);
  const names = Array.from({ length: parts }, (_, index) =>
    parts === 1 ? 'm-Q4_K_M.gguf' : `m-Q4_K_M-0000${index + 1}-of-0000${parts}.gguf`,
  );
  const sizeBytes = 1 + random.below(20_000);
  const contents = new Map(names.map((name) => [name, bytesOf(`${seed} ${name}`, sizeBytes)]));
  stage.hub.add('org/repo', Object.fromEntries(contents));
  const killed: Promise<void>[] = [];
  const killHive = () => killed.push(stage.downloads.close());
  for (let count = random.below(12); count > 0; count--)
    stage.hub.faults.push(randomFault(random, sizeBytes, killHive));

  const checkFiles = () => {
    for (const [name, bytes] of contents) {
      const path = join(stage.folder(ref), name);
      if (existsSync(path)) expect(digestOf(readFileSync(path))).toBe(digestOf(bytes));
    }
  };
  for (let round = 0; ; round++) {
    expect(round).toBeLessThan(20);
    const requested = await stage.downloads.request(ref).catch(() => undefined);
    if (requested && 'model' in requested) throw new Error('a row without a download');
    if (!requested) {
      stage.start();
      continue;
    }
    const { download } = requested;
    const followers = [stage.follow(download)];
    const watch = (async () => {
      for await (const event of download.follow(new AbortController().signal)) {
        if (event.stage !== 'downloading') checkFiles();
        if (event.stage === 'retrying') followers.push(stage.follow(download));
      }
    })();
    await stage.until(download.settled);
    await stage.until(watch);
    followers.push(stage.follow(download));
    for (const events of await stage.until(Promise.all(followers))) expectOneEnd(events);
    checkFiles();
    expect(stage.models.length).toBe(download.progress?.stage === 'complete' ? 1 : 0);
    if (stage.models.length > 0) break;
    await stage.until(Promise.all(killed));
    if (killed.length > 0) stage.start();
    killed.length = 0;
  }
  expect(readdirSync(stage.folder(ref)).sort()).toEqual(names);
  await stage.downloads.close();
  expect(stage.clock.pending).toBe(0);
}

function expectOneEnd(events: readonly DownloadProgress[]): void {
  const ends = events.filter(({ stage }) => stage === 'complete' || stage === 'error');
  expect(ends).toHaveLength(1);
  expect(events.at(-1)).toBe(ends[0]);
}

it(`whatever breaks in ${SCRIPTS} downloads: never a wrong file, a row without a file or a rest, always one end`, async () => {
  const seeds = Array.from({ length: SCRIPTS }, (_, index) => index + 1);
  const runner = async () => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      const script = seed;
      await runScript(script).catch((error: unknown) => {
        throw new Error(`script ${script}`, { cause: error });
      });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, runner));
}, 60_000);
