import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { defineRoutes, RbeeError } from '@rbee/protocol';
import { z } from 'zod';
import type { Target } from '../call.js';
import { systemClock } from '../clock.js';
import { type Listening, listen } from '../listen.js';
import { createLogger } from '../logger.js';
import type { Secret } from '../secret-file.js';
import { type Handlers, type ServeOptions, serve } from '../serve.js';
import { silentLogger } from '../silent-logger.js';
import { httpTransport, type Transport } from '../transport.js';

const itemParams = z.object({ item_id: z.string().regex(/^[\w -]{1,20}$/) });
const text = z.object({ text: z.string() });

export const sampleEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('token'), t: z.string() }),
  z.object({ type: z.literal('end') }),
  z.object({ type: z.literal('error'), code: z.string(), message: z.string() }),
]);

/** A table with every kind of answer. */
export const sampleRoutes = defineRoutes({
  health: {
    method: 'GET',
    path: '/health',
    aliases: [{ path: '/v1/health' }],
    open: true,
    answer: { kind: 'json', schema: z.object({ status: z.string() }) },
  },
  echo: {
    method: 'POST',
    path: '/v1/echo',
    aliases: [{ method: 'PUT', path: '/v1/repeat' }],
    body: z.object({ text: z.string(), count: z.number().int().min(1).nullish() }),
    answer: { kind: 'json', schema: text, status: [202, 200] },
  },
  listItems: { method: 'GET', path: '/v1/items/list', answer: { kind: 'json', schema: text } },
  getItem: {
    method: 'GET',
    path: '/v1/items/{item_id}',
    params: itemParams,
    query: z.object({ lines: z.string().nullish() }),
    answer: { kind: 'json', schema: text },
  },
  removeItem: { method: 'DELETE', path: '/v1/items/{item_id}', params: itemParams, answer: { kind: 'empty' } },
  generate: {
    method: 'POST',
    path: '/v1/generate',
    slow: true,
    body: z.object({ stream: z.boolean().nullish() }),
    answer: { kind: 'sse', events: sampleEvent, json: text },
  },
  progress: {
    method: 'GET',
    path: '/v1/progress',
    answer: { kind: 'sse', events: z.object({ stage: z.string() }), unnamed: true },
  },
  logs: { method: 'GET', path: '/v1/logs', slow: true, answer: { kind: 'text' } },
  readFile: { method: 'GET', path: '/v1/file', slow: true, answer: { kind: 'bytes' } },
  writeFile: {
    method: 'PUT',
    path: '/v1/file',
    slow: true,
    upload: true,
    query: z.object({ offset: z.coerce.number().int() }),
    answer: { kind: 'json', schema: text },
  },
});

type SampleHandlers = Handlers<typeof sampleRoutes>;

const unused = async (): Promise<never> => {
  throw new RbeeError('INTERNAL_ERROR', 'this handler is not part of the test');
};

const NO_HANDLERS: SampleHandlers = {
  health: async () => ({ status: 'ok' }),
  echo: async ({ body }) => ({ text: body.text.repeat(body.count ?? 1) }),
  listItems: async () => ({ text: 'the list' }),
  getItem: async ({ params, query }) => ({ text: `${params.item_id} ${query.lines ?? ''}` }),
  removeItem: async () => undefined,
  generate: unused,
  progress: unused,
  logs: unused,
  readFile: unused,
  writeFile: unused,
};

export interface SampleService extends Listening {
  readonly transport: Transport;
  readonly target: Target;
}

const started: SampleService[] = [];

/** Starts a service on a free loopback port; `stopSampleServices` ends it. */
export async function startSampleService(
  handlers: Partial<SampleHandlers> = {},
  options: Partial<ServeOptions> & { readonly callerKey?: Secret } = {},
): Promise<SampleService> {
  const app = serve(
    sampleRoutes,
    { ...NO_HANDLERS, ...handlers },
    { clock: systemClock, log: silentLogger, ...options },
  );
  const listening = await listen('sample', app, { host: '127.0.0.1', port: 0 });
  const transport = httpTransport({ name: 'sample', url: listening.url });
  const target = { transport, clock: options.clock ?? systemClock, key: options.callerKey };
  const service = { ...listening, transport, target };
  started.push(service);
  return service;
}

/** Ends everything that was started, connections included. */
export async function stopSampleServices(): Promise<void> {
  for (const { transport, close } of started.splice(0)) {
    transport.close();
    await close(0);
  }
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The parsed text; throws when it is not JSON. */
  readonly json: () => Record<string, never> & {
    error: { code: string; message: string; details: Record<string, unknown> };
  };
}

export interface RawRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
}

/** Opens one request on a connection of its own and gives its answer as it begins. */
export function openRaw(url: string, init: RawRequest = {}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // The path goes out as it stands: a URL object would normalise what a hostile caller sends.
    const [, origin = '', path = '/'] = /^(http:\/\/[^/]+)(.*)$/.exec(url) ?? [];
    const { hostname, port } = new URL(origin);
    const { method = 'GET', headers = {}, body } = init;
    const agent = new Agent({ keepAlive: false });
    const outgoing = httpRequest({ agent, host: hostname, port, path, method, headers }, resolve);
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Sends one request and reads its whole answer. */
export async function sendRaw(url: string, init: RawRequest = {}): Promise<RawAnswer> {
  const incoming = await openRaw(url, init);
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const answer = Buffer.concat(chunks).toString('utf8');
  return { status: incoming.statusCode ?? 0, headers: incoming.headers, text: answer, json: () => JSON.parse(answer) };
}

/** A promise and its way to be settled. */
export function defer<T = void>() {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** A logger whose lines are kept, parsed. */
export function memoryLog() {
  const lines: Record<string, unknown>[] = [];
  const destination = { write: (line: string) => void lines.push(JSON.parse(line)) };
  return { lines, log: createLogger({ service: 'sample', level: 'debug', destinations: [destination] }) };
}
