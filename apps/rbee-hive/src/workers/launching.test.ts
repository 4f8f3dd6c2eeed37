import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import { identify, isRunning, Secret, silentLogger, systemClock } from '@rbee/daemon-kit';
import { type WorkerSpec, workerArguments, workerVariables } from './launch-plan.js';
import { choosePort } from './port-allocator.js';
import { reapLeftovers } from './reap-leftovers.js';
import { RunFiles } from './run-files.js';
import { endedEarly, loadedTooSlowly, reportedFailure } from './worker-failures.js';
import { readNarration } from './worker-output.js';

const folder = mkdtempSync(join(tmpdir(), 'rbee-launch-'));
afterAll(() => rmSync(folder, { recursive: true }));

const spec: WorkerSpec = {
  workerId: 'worker-1',
  modelRef: 'builtin:honeycomb',
  modelPath: '/m/h.gguf',
  backend: 'cuda',
  device: 1,
};
const address = { host: '127.0.0.1', port: 8001, callbackUrl: 'http://127.0.0.1:9200', keyFile: '/run/worker-1.key' };

describe('the launch plan', () => {
  it('names everything the worker needs, and slots and context only when they are set', () => {
    const plain =
      '--worker-id worker-1 --model /m/h.gguf --model-ref builtin:honeycomb --backend cuda --device 1 --host 127.0.0.1 ' +
      '--port 8001 --callback-url http://127.0.0.1:9200 --api-key-file /run/worker-1.key';
    expect(workerArguments(spec, address).join(' ')).toBe(plain);
    expect(workerArguments({ ...spec, slots: 2, contextSize: 512 }, address).join(' ')).toBe(
      `${plain} --slots 2 --ctx 512`,
    );
  });

  it.each([
    ['cpu', 0, {}],
    ['metal', 0, {}],
    ['cuda', 1, { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: '1' }],
    ['vulkan', 2, { GGML_VK_VISIBLE_DEVICES: '2' }],
  ] as const)('shows a %s worker its device only, and no way to a secret', (backend, device, expected) => {
    const secrets = { HF_TOKEN: 'hf_secret', CREDENTIALS_DIRECTORY: '/run/c', RBEE_HIVE_TOKEN_FILE: '/h' };
    const inherited = { PATH: '/bin', ...secrets, UV_THREADPOOL_SIZE: '8' };
    expect(workerVariables({ backend, device }, inherited)).toEqual({
      PATH: '/bin',
      UV_THREADPOOL_SIZE: '1',
      ...expected,
    });
  });
});

describe('choosePort', () => {
  const choose = (start: number, taken: number[], bound: number[]) => {
    const inUse: number[] = [];
    const choice = { host: '127.0.0.1', start, taken: new Set(taken), onInUse: (port: number) => inUse.push(port) };
    const port = choosePort(choice, async (_host, candidate) => !bound.includes(candidate));
    return port.then((chosen) => [chosen, inUse]);
  };
  const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

  it.each([
    ['the first one', 8001, [], [], 8001, []],
    ['behind those of other workers', 8001, [8001, 8002], [], 8003, []],
    ['behind one that is in use', 8001, [], [8001], 8002, [8001]],
    ["never the queen's", 8079, [8079], [], 8081, []],
    ['the last one', 9000, [], [], 9000, []],
    ['beyond the usual range when told to start there', 20_000, [20_000], [20_001], 20_002, [20_001]],
  ])('takes %s', async (_name, start, taken, bound, port, inUse) => {
    await expect(choose(start, taken, bound)).resolves.toEqual([port, inUse]);
  });

  it('gives up above 9000', async () => {
    await expect(choose(8990, range(8990, 9000), [])).rejects.toMatchObject({
      code: 'NO_FREE_PORT',
      details: { first: 8990, last: 9000 },
    });
  });

  it('finds out by binding', async () => {
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
    const { port } = squatter.address() as { port: number };
    const inUse: number[] = [];
    const choice = {
      host: '127.0.0.1',
      start: port,
      taken: new Set<number>(),
      onInUse: (one: number) => inUse.push(one),
    };
    await expect(choosePort(choice)).resolves.toBeGreaterThan(port);
    expect(inUse).toContain(port);
    await new Promise((resolve) => squatter.close(resolve));
  });
});

describe('what a killed hive leaves behind', () => {
  const sleeper = async () => {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' });
    await new Promise((resolve) => child.once('spawn', resolve));
    const exited = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
    return { child, exited, identity: identify(child.pid as number) ?? { pid: 0, startTime: undefined } };
  };
  const record = (workerId: string, process: object, hive: object) =>
    ({ workerId, modelRef: 'builtin:honeycomb', port: 8001, process, hive }) as Parameters<RunFiles['writeRecord']>[0];
  const deadHive = { pid: 999_999, startTime: '1' };

  it('is ended; other processes and the workers of other hives are not', async () => {
    const files = new RunFiles(join(folder, 'workers'));
    const [orphan, stranger, other] = await Promise.all([sleeper(), sleeper(), sleeper()]);
    const self = identify(process.pid) ?? deadHive;
    files.writeKey('worker-orphan', new Secret('k'));
    files.writeRecord(record('worker-orphan', orphan.identity, deadHive));
    files.writeRecord(record('worker-recycled', { ...stranger.identity, startTime: '1' }, deadHive));
    files.writeRecord(record('worker-other', other.identity, self));
    files.writeRecord(record('worker-gone', deadHive, deadHive));
    writeFileSync(join(folder, 'workers', 'worker-half.json'), '{"workerId":');

    await expect(reapLeftovers(files, systemClock, 2000, silentLogger)).resolves.toBe(1);
    await expect(orphan.exited).resolves.toBe('SIGTERM');
    expect([stranger, other].map(({ identity }) => isRunning(identity))).toEqual([true, true]);
    expect(readdirSync(join(folder, 'workers'))).toEqual(['worker-other.json']);
    for (const { child, exited } of [stranger, other]) {
      child.kill('SIGKILL');
      await exited;
    }
  });
});

describe('the files of running workers', () => {
  it('are written again after their folder was removed', () => {
    const files = new RunFiles(join(folder, 'removed'));
    rmSync(join(folder, 'removed'), { recursive: true });
    expect(files.readRecords()).toEqual([]);
    files.writeKey('worker-1', new Secret('k'));
    expect(readdirSync(join(folder, 'removed'))).toEqual(['worker-1.key']);
  });

  it('fail with a code and what to do when they cannot be written', () => {
    const files = new RunFiles(join(folder, 'twice'));
    files.writeKey('worker-1', new Secret('k'));
    const again = () => files.writeKey('worker-1', new Secret('k'));
    expect(again).toThrow(expect.objectContaining({ code: 'WORKER_SPAWN_FAILED', suggestion: expect.any(String) }));
  });

  it('are read past whatever else lies in their folder', () => {
    const files = new RunFiles(join(folder, 'strange'));
    mkdirSync(join(folder, 'strange', 'folder.json'));
    expect(files.readRecords()).toEqual([]);
  });
});

describe('failures', () => {
  const facts = { workerId: 'worker-1', pid: 7, lastLines: [] as string[] };

  it.each([
    [['Error: listen EADDRINUSE', '    at Server.listen (node:net:1)', 'Node.js v20.20.2'], 'Error: listen EADDRINUSE'],
    [
      ['{"level":"error","msg":"load failed","error":{"message":"bad tensor"}}', '{"level":"info","msg":"bye"}'],
      'bad tensor',
    ],
    [['loading /home/me/models/x.gguf', ''], 'loading …/x.gguf'],
    [['token=abc123'], 'token=[REDACTED]'],
  ])('are explained from the output %j', (lastLines, expected) => {
    const { message } = endedEarly({ ...facts, lastLines }, { code: 1, signal: null }, 'starting');
    expect(message).toBe(`the worker ended with exit code 1 before it was reachable: ${expected}`);
  });

  it('point at memory when the system killed the worker', () => {
    const error = endedEarly(facts, { code: null, signal: 'SIGKILL' }, 'loading');
    expect([error.message, error.suggestion]).toEqual([
      'the worker ended with signal SIGKILL while it was loading the model',
      expect.stringContaining('lack of memory'),
    ]);
  });

  it('tell how far a slow load came', () => {
    expect(loadedTooSlowly(facts, 300_000, { loaded: 12, total: 32 }).message).toBe(
      'the model was not loaded within 5 min: 12 of 32 layers are loaded',
    );
  });

  it('keep the code that a worker reports, if there is such a code', () => {
    expect(reportedFailure(facts, { code: 'OUT_OF_MEMORY', message: 'no' }).code).toBe('OUT_OF_MEMORY');
    expect(reportedFailure(facts, { code: 'STRANGE', message: 'no' }).code).toBe('MODEL_LOAD_FAILED');
    expect(reportedFailure(facts, undefined).code).toBe('MODEL_LOAD_FAILED');
  });
});

it.each([
  ['{"type":"narration","actor":"a","action":"b","target":"c","human":"d"}', 'd'],
  ['{"type":"narration","actor":"a","action":"b","target":"c","human":"of a job","job_id":"1"}', undefined],
  ['{"type":"narration","actor":"a"}', undefined],
  ['{"type":"narration', undefined],
  ['llama_model_load: "narration" {', undefined],
])('readNarration of %s', (line, human) => {
  expect(readNarration(line)?.human).toBe(human);
});
