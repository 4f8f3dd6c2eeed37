import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, expect, it } from '@jest/globals';
import { hiveRoutes, queenRoutes, type RouteTable, toErrorCode, workerRoutes } from '@rbee/protocol';
import fc from 'fast-check';
import { addressesOf } from './authenticate.js';
import { systemClock } from './clock.js';
import { type Listening, listen } from './listen.js';
import { Secret } from './secret-file.js';
import { type Handlers, serve } from './serve.js';
import { memoryLog } from './testing/sample-service.js';

/** Fixed, so that a failure is the same tomorrow. */
const SEED = 20_601;
const RUNS = 400;
/** Each run sends so many requests at once. */
const AT_ONCE = 9;
/** In everything that a caller sends; nothing of it may come back. */
const MARKER = 'Q7X';
const KEY = new Secret('the key of the service');

const started: Listening[] = [];
afterEach(async () => {
  for (const { close } of started.splice(0)) await close(0);
});

/** A service with a whole table whose handlers do nothing, so that only what is in front of them is tried. */
async function startStub(routes: RouteTable) {
  const { log, lines } = memoryLog();
  const stub =
    (kind: string) => async (_call: unknown, stream?: { send(event: object): void; write(text: string): void }) => {
      if (kind === 'sse') stream?.send({ type: 'end', stage: 'complete' });
      if (kind === 'text') stream?.write('text');
      return kind === 'bytes' ? { path: process.execPath } : {};
    };
  const handlers = Object.fromEntries(Object.entries(routes).map(([name, { answer }]) => [name, stub(answer.kind)]));
  const app = serve(routes, handlers as unknown as Handlers<RouteTable>, {
    ...{ clock: systemClock, log, key: KEY, failuresPerSecond: Number.POSITIVE_INFINITY, service: 'stub' },
  });
  const listening = await listen('stub', app, { host: '127.0.0.1', port: 0 });
  started.push(listening);
  return { ...listening, lines };
}

const HOSTILE = [
  ...[
    '\u0000',
    '\n',
    '\u001b[31m',
    '\u202e',
    '\u200b',
    '\ud800',
    '../../etc/passwd',
    '/etc/shadow',
    '; rm -rf /',
    '$(id)',
  ],
  ...["' OR 1=1 --", '<script>', '%00', '%zz', '%2e%2e', 'NaN', '1e999', '-1', '__proto__', 'x'.repeat(5000)],
];
const hostileText = fc
  .tuple(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 8, unit: 'binary' }))
  .map(([bad, rest]) => `${MARKER}${bad}${rest}`);
const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.constantFrom(null, -1, 1e308, 0.5, true, [], {}, '', 2 ** 53),
  fc.array(hostileText, { maxLength: 3 }),
  fc.dictionary(hostileText, hostileText, { maxKeys: 2 }),
);
/** Fields that the tables know, with values that they do not. */
const FIELDS = [
  ...[
    'model',
    'model_ref',
    'backend',
    'device',
    'node',
    'node_name',
    'worker_id',
    'prompt',
    'messages',
    'url',
    'state',
  ],
  ...['ssh_host', 'ssh_user', 'ssh_port', 'devices', 'stream', 'resume', 'stop', 'max_tokens', 'pinned', 'digest'],
];
const hostileJson = fc.dictionary(fc.oneof(fc.constantFrom(...FIELDS), hostileText), hostileValue, { maxKeys: 5 });
const hostileBody = fc.oneof(
  hostileJson.map((body) => Buffer.from(JSON.stringify(body))),
  hostileText.map((text) => Buffer.from(text)),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.constant(Buffer.from(`${'['.repeat(10_000)}`)),
  fc.constant(gzipSync('x'.repeat(3 * 1024 * 1024))),
  fc.constant(Buffer.alloc(0)),
);
/** What a client of HTTP can send in a header. */
const headerText = hostileText.map((text) => text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').trim());
const hostileHeaders = fc.record(
  {
    'X-Request-Deadline': fc.oneof(headerText, fc.constantFrom('99999999999999999999', '-1', '9999-99-99T99:99')),
    'X-Correlation-Id': headerText,
    'Last-Event-ID': headerText,
    'Content-Type': fc.constantFrom(
      'text/plain',
      'application/json; charset=klingon',
      'application/json; charset=utf-16',
    ),
    'Content-Encoding': fc.constantFrom('gzip', 'deflate', 'br7', 'identity'),
    Accept: fc.constantFrom('text/event-stream', '*/*', ''),
    Range: fc.constantFrom('bytes=0-0', 'bytes=9-1', 'bytes=zz'),
  },
  { requiredKeys: [] },
);
const hostileRequest = fc.record({
  address: fc.nat(),
  param: fc.oneof(hostileText.map(encode), fc.constantFrom('%zz', '%00', '..', 'w-1')),
  query: fc.oneof(
    hostileJson.map(
      (fields) =>
        `?${Object.entries(fields)
          .map(([k, v]) => `${encode(k)}=${encode(JSON.stringify(v))}`)
          .join('&')}`,
    ),
    fc.constant(''),
  ),
  body: hostileBody,
  headers: hostileHeaders,
});

function encode(text: string): string {
  // Half of a pair of surrogates cannot be encoded.
  return encodeURIComponent(Buffer.from(text.slice(0, 300)).toString());
}

async function readAnswer(incoming: IncomingMessage) {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming) {
    chunks.push(chunk);
    size += chunk.length;
    // A file that was asked for is as long as it is.
    if (size > 1_000_000) break;
  }
  return { status: incoming.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8'), headers: incoming.headers };
}

it.each<[string, RouteTable]>([
  ['queen', queenRoutes],
  ['hive', hiveRoutes],
  ['worker', workerRoutes],
])(
  'whatever is sent to the %s is answered, in the envelope and without an echo',
  async (_name, routes) => {
    const { port, lines, url } = await startStub(routes);
    const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
    const addresses = addressesOf(routes);
    const send = ({
      address,
      param,
      query,
      body,
      headers,
    }: typeof hostileRequest extends fc.Arbitrary<infer R> ? R : never) => {
      const { method, path } = addresses[address % addresses.length] as (typeof addresses)[number];
      const target = `${path.replace(/\{\w+\}/g, param)}${query}`;
      const length = method === 'GET' ? {} : { 'Content-Length': String(body.length) };
      const all = { ...headers, ...length, Authorization: `Bearer ${KEY.reveal()}` };
      return new Promise<Awaited<ReturnType<typeof readAnswer>>>((resolve, reject) => {
        const outgoing = httpRequest({ agent, port, host: '127.0.0.1', path: target, method, headers: all });
        outgoing.once('response', (incoming) => readAnswer(incoming).then(resolve, reject));
        outgoing.once('error', reject);
        outgoing.end(method === 'GET' ? undefined : body);
      });
    };
    await fc.assert(
      fc.asyncProperty(fc.array(hostileRequest, { minLength: AT_ONCE, maxLength: AT_ONCE }), async (requests) => {
        for (const { status, text, headers } of await Promise.all(requests.map(send))) {
          if (status < 300) continue;
          expect([400, 404, 405, 408, 413]).toContain(status);
          const { error } = JSON.parse(text) as { error: { code: string; correlation_id: string } };
          expect(toErrorCode(error.code)).toBe(error.code);
          expect(error.correlation_id).toBe(headers['x-correlation-id']);
          // A correlation id is the caller's own word, taken over where it is one.
          expect(text.replaceAll(error.correlation_id, '')).not.toContain(MARKER);
        }
      }),
      { seed: SEED, numRuns: RUNS, endOnFailure: true },
    );
    agent.destroy();
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
    expect((await fetch(`${url}/health`)).status).toBe(200);
  },
  120_000,
);

it('whatever comes on a connection is answered or ended, and the service goes on', async () => {
  const { port, url } = await startStub(workerRoutes);
  const head = fc.constantFrom('GET /health HTTP/1.1\r\nHost: x\r\n', 'POST /v1/inference HTTP/1.1\r\nHost: x\r\n', '');
  const bytes = fc.tuple(
    head,
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      hostileText.map((text) => Buffer.from(text)),
    ),
  );
  await fc.assert(
    fc.asyncProperty(bytes, async ([start, rest]) => {
      const text = await new Promise<string>((resolve) => {
        let seen = '';
        const socket = connect({ port, host: '127.0.0.1' }, () => {
          socket.write(start);
          socket.write(rest);
          socket.end('\r\n\r\n');
        });
        socket.on('data', (chunk) => {
          seen += String(chunk);
        });
        socket.on('error', () => undefined);
        socket.once('close', () => resolve(seen));
      });
      expect(text).toMatch(/^$|^HTTP\/1\.1 (200|400|401|404|405|408|413) /);
      expect(text).not.toContain(MARKER);
    }),
    { seed: SEED, numRuns: 500, endOnFailure: true },
  );
  expect((await fetch(`${url}/health`)).status).toBe(200);
}, 60_000);
