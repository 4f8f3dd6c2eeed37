import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { callBytes, callJson } from './call.js';
import { FileReply } from './serve.js';
import { sampleRoutes, startSampleService, stopSampleServices } from './testing/sample-service.js';

const CONTENT = randomBytes(300_000);
let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), '.rbee-file-routes-'));
  file = join(folder, 'content.bin');
  writeFileSync(file, CONTENT);
});
afterEach(stopSampleServices);
afterAll(() => rmSync(folder, { recursive: true }));

async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* inChunks(content: Buffer, size = 10_000) {
  for (let start = 0; start < content.length; start += size) yield content.subarray(start, start + size);
}

describe('a route that answers a file', () => {
  const serveFile = () => startSampleService({ readFile: async () => new FileReply(file) });

  it.each([
    [0, CONTENT.length],
    [0, 1],
    [123_456, 234_567],
    [CONTENT.length - 1, CONTENT.length],
  ])('sends the bytes from %i to before %i', async (start, end) => {
    const { target } = await serveFile();
    const bytes = await callBytes(target, sampleRoutes.readFile, { start, end });
    expect((await collect(bytes)).equals(CONTENT.subarray(start, end))).toBe(true);
  });

  it('sends the whole of it where no range is asked for', async () => {
    const { url } = await serveFile();
    const response = await fetch(`${url}/v1/file`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(Buffer.from(await response.arrayBuffer()).equals(CONTENT)).toBe(true);
  });

  it('refuses a range behind its end, and breaks off a shorter answer than was asked for', async () => {
    const { target } = await serveFile();
    const behind = callBytes(target, sampleRoutes.readFile, { start: CONTENT.length, end: CONTENT.length + 1 });
    await expect(behind).rejects.toMatchObject({ code: 'INVALID_REQUEST' });
    const longer = await callBytes(target, sampleRoutes.readFile, { start: 0, end: CONTENT.length + 1 });
    await expect(collect(longer)).rejects.toMatchObject({ code: 'WORKER_CONNECTION_LOST' });
  });

  it('answers the error of its handler, and one for a file that has gone', async () => {
    const refused = await startSampleService({
      readFile: async () => {
        throw new RbeeError('MODEL_NOT_FOUND', 'no such model');
      },
    });
    await expect(callBytes(refused.target, sampleRoutes.readFile, { start: 0, end: 1 })).rejects.toMatchObject({
      code: 'MODEL_NOT_FOUND',
    });
    const gone = await startSampleService({ readFile: async () => new FileReply(join(folder, 'gone.bin')) });
    await expect(callBytes(gone.target, sampleRoutes.readFile, { start: 0, end: 1 })).rejects.toMatchObject({
      code: 'INTERNAL_ERROR',
    });
  });

  it('lets go of a caller that leaves in the middle', async () => {
    const { target, server } = await serveFile();
    const bytes = await callBytes(target, sampleRoutes.readFile, { start: 0, end: CONTENT.length });
    for await (const _chunk of bytes) break;
    const open = await new Promise<number>((resolve, reject) =>
      setImmediate(() => server.getConnections((error, count) => (error ? reject(error) : resolve(count)))),
    );
    expect(open).toBeLessThanOrEqual(1);
  });
});

describe('a route that takes an upload', () => {
  it('hands the bytes to the handler as they come', async () => {
    let received: Buffer = Buffer.alloc(0);
    const { target } = await startSampleService({
      writeFile: async ({ upload, query }) => {
        received = await collect(upload);
        return { text: `from ${query.offset}` };
      },
    });
    const answer = await callJson(target, sampleRoutes.writeFile, {
      query: { offset: '7' },
      upload: { bytes: inChunks(CONTENT), length: CONTENT.length },
    });
    expect(answer).toEqual({ text: 'from 7' });
    expect(received.equals(CONTENT)).toBe(true);
  });

  it('gives the caller the error of a handler that reads nothing', async () => {
    const { target } = await startSampleService({
      writeFile: async () => {
        throw new RbeeError('DISK_FULL', 'no space');
      },
    });
    const sent = callJson(target, sampleRoutes.writeFile, {
      query: { offset: '0' },
      upload: { bytes: inChunks(CONTENT), length: CONTENT.length },
    });
    await expect(sent).rejects.toMatchObject({ code: 'DISK_FULL' });
  });

  it('leaves the connection usable when its handler has enough before the end', async () => {
    const { url } = await startSampleService({
      writeFile: async ({ upload }) => {
        for await (const _chunk of upload) throw new RbeeError('DISK_FULL', 'no space');
        return { text: 'nothing came' };
      },
    });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const put = (bytes: number) =>
      new Promise<number | undefined>((resolve, reject) => {
        const outgoing = request(`${url}/v1/file?offset=0`, { method: 'PUT', agent }, (incoming) => {
          incoming.resume().once('end', () => resolve(incoming.statusCode));
        });
        outgoing.once('error', reject).end(Buffer.alloc(bytes));
      });
    // More than the system keeps of what nobody reads.
    expect(await put(16_000_000)).toBe(507);
    expect(await put(1)).toBe(507);
    agent.destroy();
  });

  it('breaks off on both sides when the source of the bytes fails, and gives the caller its error', async () => {
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    let settle: (error: unknown) => void = () => undefined;
    const caught = new Promise<unknown>((resolve) => {
      settle = resolve;
    });
    const { target } = await startSampleService({
      writeFile: async ({ upload }) => {
        begin();
        await collect(upload).then(() => settle(undefined), settle);
        return { text: '' };
      },
    });
    async function* failing() {
      yield CONTENT.subarray(0, 100_000);
      await begun;
      throw new RbeeError('WORKER_CONNECTION_LOST', 'the source broke');
    }
    const sent = callJson(target, sampleRoutes.writeFile, {
      query: { offset: '0' },
      upload: { bytes: failing(), length: CONTENT.length },
    });
    await expect(sent).rejects.toMatchObject({ code: 'WORKER_CONNECTION_LOST', message: 'the source broke' });
    expect(await caught).toMatchObject({ code: 'ECONNRESET' });
  });
});
