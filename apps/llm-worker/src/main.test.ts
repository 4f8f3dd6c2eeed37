import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from '@jest/globals';
import { systemClock } from '@rbee/daemon-kit';
import { startFakeHive } from './testing/fake-hive.js';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
const running = new Set<ChildProcess>();

interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The worker as a process of its own. `meddle` is code that runs in it beforehand. */
function start(args: readonly string[], variables: Record<string, string> = {}, meddle = '') {
  const before = ['--import', `data:text/javascript,${encodeURIComponent(meddle)}`];
  const child = spawn(process.execPath, [...before, '--import', TSX, MAIN, ...args], {
    env: { ...process.env, NODE_OPTIONS: '', UV_THREADPOOL_SIZE: '1', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let [stdout, stderr] = ['', ''];
  const waiting = new Set<() => void>();
  const tell = (): void => {
    for (const check of waiting) check();
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    tell();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    tell();
  });
  const ended = once(child, 'close').then(([code, signal]): Outcome => {
    running.delete(child);
    return { code: code as number | null, signal: signal as string | null, stdout, stderr };
  });
  const until = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        const found = pattern.exec(stdout) ?? pattern.exec(stderr);
        if (found) resolve(found);
      };
      waiting.add(check);
      check();
      void ended.then(() => reject(new Error(`ended before ${pattern}: ${stderr}`)));
    });
  return { child, ended, until };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});

describe('llm-worker-rbee', () => {
  it.each([
    [['--version'], 0, /^llm-worker-rbee \d+\.\d+\.\d+\n$/, /^$/],
    [['--help'], 0, /--api-key-file/, /^$/],
    [['--bogus'], 2, /^$/, /^\[llm-worker-rbee\] Error: Unknown option '--bogus'.*\n\nUsage: llm-worker-rbee/],
    [['--slots', 'many'], 1, /^$/, /^\[llm-worker-rbee\] Error: .*--slots.* \(CONFIG_INVALID\)\n/],
  ])('%j ends with %d', async (args, code, stdout, stderr) => {
    const outcome = await start(args).ended;
    expect(outcome).toEqual({
      code,
      signal: null,
      stdout: expect.stringMatching(stdout),
      stderr: expect.stringMatching(stderr),
    });
  });

  it('tests its engine and says in one line what came of it', async () => {
    const { code, stdout } = await start(['--self-test']).ended;
    expect([code, JSON.parse(stdout)]).toEqual([0, { ok: true, message: expect.stringMatching(/^node-llama-cpp \d/) }]);
  });

  it('tells its hive what its model takes, by the account of the engine', async () => {
    const hive = await startFakeHive(systemClock);
    try {
      const port = String(await freePort());
      start(['--port', port, '--callback-url', hive.url, '--slots', '3', '--ctx', '512']);
      await hive.until(({ callbacks }) => callbacks.some(({ state }) => state === 'idle'));
      expect(hive.callbacks[0]?.memory).toBeUndefined();
      const { memory } = hive.callbacks.at(-1) ?? {};
      // Six layers with 128 keys and 128 values of two bytes for each token.
      expect(memory).toMatchObject({ kv_cache_bytes: 3 * 512 * 6 * 256 * 2, context_size: 512, slots: 3 });
      const { weights_bytes = 0, compute_bytes = 0, kv_cache_bytes = 0 } = memory ?? {};
      expect(weights_bytes).toBeGreaterThan(3_000_000);
      expect(compute_bytes).toBeGreaterThan(512 * 512 * 8 * 4);
      expect(memory?.total_bytes).toBe(weights_bytes + compute_bytes + kv_cache_bytes);
    } finally {
      await hive.close();
    }
  }, 60_000);

  it('ends with 1 and the next step when its port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const outcome = await start(['--port', String(port)]).ended;
    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringContaining(`port ${port}`) });
    expect(outcome.stderr).toContain('--port');
    server.close();
  });

  it('ends with 1 when the model cannot be loaded', async () => {
    const port = String(await freePort());
    const outcome = await start(['--port', port, '--model', join('/nowhere', 'none.gguf')]).ended;
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain('MODEL_LOAD_FAILED');
    const narrated = outcome.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; action: string });
    expect(new Set(narrated.map(({ type }) => type))).toEqual(new Set(['narration']));
    expect(narrated.at(-1)?.action).toBe('error');
  });

  it('serves, warns of a large thread pool, survives a broken output, and ends with 0 on SIGTERM', async () => {
    const port = String(await freePort());
    const worker = start(['--port', port], { UV_THREADPOOL_SIZE: '4' });
    await worker.until(/start this process with UV_THREADPOOL_SIZE=1/);
    await worker.until(/model_loaded/);
    worker.child.stdout?.destroy();
    worker.child.stderr?.destroy();
    const body = JSON.stringify({ prompt: 'What is the capital of France?', temperature: 0, stream: false });
    const infer = () => fetch(`http://127.0.0.1:${port}/v1/inference`, { method: 'POST', body });
    for (let turn = 0; turn < 3; turn++) expect(await (await infer()).json()).toMatchObject({ stop_reason: 'EOS' });
    worker.child.kill('SIGTERM');
    expect((await worker.ended).code).toBe(0);
  }, 60_000);

  it('ends with 0 on SIGTERM while it loads', async () => {
    const worker = start(['--port', String(await freePort())]);
    await worker.until(/"action":"model_load"/);
    worker.child.kill('SIGTERM');
    const { code, stdout } = await worker.ended;
    expect([code, stdout]).toEqual([0, expect.stringContaining('"action":"exit"')]);
  }, 60_000);

  it('finishes its answer on SIGTERM, and ends at once on a second one', async () => {
    const port = String(await freePort());
    const worker = start(['--port', port]);
    await worker.until(/model_loaded/);
    const body = JSON.stringify({ prompt: '!'.repeat(16), template: 'none', temperature: 0 });
    const answer = await fetch(`http://127.0.0.1:${port}/v1/inference`, { method: 'POST', body });
    worker.child.kill('SIGTERM');
    await worker.until(/shutting down/);
    worker.child.kill('SIGTERM');
    expect(await worker.ended).toMatchObject({ code: 1, stderr: expect.stringContaining('second signal') });
    expect(await answer.text().catch(() => 'broken')).not.toContain('event: end');
  }, 60_000);

  it('reads its key again on SIGHUP, and goes on', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rbee-key-'));
    try {
      const [keyFile, port] = [join(folder, 'key'), String(await freePort())];
      const write = (key: string) => writeFileSync(keyFile, `${key}\n`, { mode: 0o600 });
      write('the-first-key');
      const worker = start(['--port', port, '--api-key-file', keyFile]);
      await worker.until(/"source":"file","identity":"token:[0-9a-f]{6}".*a key was loaded/);
      await worker.until(/model_loaded/);
      const ask = async (key: string) => {
        const headers = { authorization: `Bearer ${key}` };
        return (await fetch(`http://127.0.0.1:${port}/v1/ready`, { headers })).status;
      };
      expect(await ask('the-first-key')).toBe(200);
      write('the-second-key');
      worker.child.kill('SIGHUP');
      await worker.until(/the key was replaced/);
      expect([await ask('the-first-key'), await ask('the-second-key')]).toEqual([401, 200]);
      write(' ');
      worker.child.kill('SIGHUP');
      await worker.until(/the new key cannot be used: the old one stays/);
      expect(await ask('the-second-key')).toBe(200);
      worker.child.kill('SIGTERM');
      const { code, stdout, stderr } = await worker.ended;
      expect(code).toBe(0);
      expect(stdout + stderr).not.toMatch(/the-(?:first|second)-key/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 60_000);

  it('says where the key on its command line comes from, and that it needs none without one', async () => {
    const worker = start(['--port', String(await freePort()), '--api-key', 'on-the-command-line']);
    await worker.until(/"source":"flag","identity":"token:[0-9a-f]{6}"/);
    const open = start(['--port', String(await freePort())]);
    await open.until(/"host":"127.0.0.1".*authentication is off/);
  }, 60_000);

  it('ends with 1 and says why when something is thrown that nobody catches', async () => {
    const throwIt = 'process.on("SIGUSR2", () => { throw new Error("a bolt from the blue") })';
    const worker = start(['--port', String(await freePort())], {}, throwIt);
    await worker.until(/model_loaded/);
    worker.child.kill('SIGUSR2');
    const { code, stderr } = await worker.ended;
    expect(code).toBe(1);
    expect(stderr.trim().split('\n').at(-1)).toContain('the worker has failed and ends: a bolt from the blue');
  }, 60_000);

  it('does not outlive its time on SIGTERM with an engine that hangs in a step, which its health tells', async () => {
    // Takes the only thread on which the engine can run for as long as the process lives.
    const endless = 'process.getBuiltinModule("crypto").pbkdf2("a", "b", 2 ** 31 - 1, 64, "sha512", () => undefined)';
    const hang = `process.on("SIGUSR2", () => { ${endless}; console.error("it hangs"); })`;
    const port = String(await freePort());
    const worker = start(['--port', port], { RBEE_T_DRAIN: '100ms', RBEE_T_CANARY_ANSWER: '100ms' }, hang);
    await worker.until(/model_loaded/);
    const url = `http://127.0.0.1:${port}`;
    worker.child.kill('SIGUSR2');
    await worker.until(/it hangs/);
    const canary = await fetch(`${url}/v1/admin/canary`, { method: 'POST' });
    expect(await canary.json()).toMatchObject({ error: { code: 'INFERENCE_TIMEOUT' } });
    const { status, step_ms } = (await (await fetch(`${url}/health`)).json()) as { status: string; step_ms: number };
    expect([status, step_ms >= 90]).toEqual(['healthy', true]);
    worker.child.kill('SIGTERM');
    const { signal, stderr } = await worker.ended;
    expect(signal).toBe('SIGKILL');
    expect(stderr.trim().split('\n').at(-1)).toContain('does not come back from what it does');
  }, 60_000);
});
