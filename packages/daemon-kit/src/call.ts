import {
  type BodyInputOf,
  decodeSse,
  fillPath,
  fromErrorEnvelope,
  type JsonOf,
  type QueryInputOf,
  RbeeError,
  type Route,
  type SseMessage,
  VERSION,
} from '@rbee/protocol';
import type { z } from 'zod';
import { type Clock, withTimeout } from './clock.js';
import type { Secret } from './secret-file.js';
import type { Transport, TransportResponse } from './transport.js';

/** What every call to one service has in common. */
export interface Target {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly key?: Secret | undefined;
}

export interface CallOptions<R extends Route> {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: QueryInputOf<R>;
  readonly body?: BodyInputOf<R>;
  readonly correlationId?: string | undefined;
  /** Milliseconds since the epoch; sent along, so that every hop keeps to it. */
  readonly deadline?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Longest time to the whole answer (JSON) or to its first byte (streams). Default 10 s, none for slow routes. */
  readonly timeoutMs?: number | undefined;
}

/** The events of a stream as they stand on the wire. */
export interface IncomingStream {
  readonly headers: TransportResponse['headers'];
  /** Ends with `[DONE]`; throws WORKER_CONNECTION_LOST when the stream breaks off before. */
  readonly messages: AsyncGenerator<SseMessage, void, void>;
  /** Gives the stream up and closes its connection. */
  close(): void;
}

const CALL_TIMEOUT_MS = 10_000;

/** Calls a route that answers JSON. Throws the peer's coded error, CONNECTION_TIMEOUT or INVALID_RESPONSE. */
export async function callJson<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R> = {},
): Promise<JsonOf<R>> {
  const text = await within(target, route, options, async (response) => readText(response));
  if (route.answer.kind === 'empty') return undefined as JsonOf<R>;
  const schema =
    route.answer.kind === 'json' ? route.answer.schema : route.answer.kind === 'sse' ? route.answer.json : undefined;
  if (!schema) throw new TypeError(`the route ${route.path} does not answer JSON`);
  return parseAnswer(target, schema, text) as JsonOf<R>;
}

/** Calls a route that answers an event stream; resolves when its status line has come. */
export async function callStream<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R> = {},
): Promise<IncomingStream> {
  const { body, headers } = await within(target, route, options, async (response) => response, 'text/event-stream');
  const { name } = target.transport.peer;
  const toBrokenError = (cause?: unknown) => {
    if (options.signal?.aborted) return options.signal.reason as Error;
    return new RbeeError('WORKER_CONNECTION_LOST', `the stream from ${name} broke off`, {
      details: { service: name },
      suggestion: 'repeat the request; if it happens again, look at the logs: rbee-keeper logs',
      cause,
    });
  };
  return { headers, messages: decodeSse(body, toBrokenError), close: () => body.destroy() };
}

/** Calls a route that answers text; resolves when its status line has come. */
export async function callText<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R> = {},
): Promise<AsyncIterable<Uint8Array>> {
  const { body } = await within(target, route, options, async (response) => response, 'text/plain');
  return body;
}

/** An event of a stream, checked; `undefined` for one that this version does not know. */
export function readEvent<S extends z.ZodType>(schema: S, message: SseMessage): z.output<S> | undefined {
  try {
    return schema.safeParse(JSON.parse(message.data)).data;
  } catch {
    // Readers must survive what they cannot parse: the caller goes on with the next event.
    return undefined;
  }
}

async function within<R extends Route, T>(
  target: Target,
  route: R,
  options: CallOptions<R>,
  read: (response: TransportResponse) => Promise<T>,
  accept = 'application/json',
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? (route.slow ? undefined : CALL_TIMEOUT_MS);
  const { name } = target.transport.peer;
  const abort = new AbortController();
  const forward = () => abort.abort(options.signal?.reason);
  if (options.signal?.aborted) forward();
  options.signal?.addEventListener('abort', forward, { once: true });
  const exchange = async (): Promise<T> => {
    const response = await target.transport.send(toPath(route, options), {
      method: route.method,
      headers: toHeaders(target, options, accept),
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: abort.signal,
    });
    if (response.status >= 400 || response.status < 200) throw await toPeerError(target, response);
    return read(response);
  };
  try {
    if (timeoutMs === undefined) return await exchange();
    return await withTimeout(target.clock, timeoutMs, exchange(), () => {
      const error = new RbeeError('CONNECTION_TIMEOUT', `${name} did not answer within ${timeoutMs} ms`, {
        details: { service: name, timeout_ms: timeoutMs },
        suggestion: `check that ${name} runs and is not overloaded`,
      });
      abort.abort(error);
      return error;
    });
  } finally {
    // A stream lives on after its status line: its signal stays connected until the body ends.
    if (accept === 'application/json') options.signal?.removeEventListener('abort', forward);
  }
}

function toPath<R extends Route>(route: R, options: CallOptions<R>): string {
  const path = fillPath(route.path, options.params);
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options.query ?? {})) if (value != null) query.set(key, String(value));
  return query.size > 0 ? `${path}?${query}` : path;
}

function toHeaders<R extends Route>(target: Target, options: CallOptions<R>, accept: string): Record<string, string> {
  return {
    Accept: accept,
    'X-Rbee-Version': VERSION,
    ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...(target.key ? { Authorization: `Bearer ${target.key.reveal()}` } : {}),
    ...(options.correlationId ? { 'X-Correlation-Id': options.correlationId } : {}),
    ...(options.deadline === undefined ? {} : { 'X-Request-Deadline': new Date(options.deadline).toISOString() }),
  };
}

async function readText(response: TransportResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function parseAnswer(target: Target, schema: z.ZodType, text: string): unknown {
  const { name } = target.transport.peer;
  const refuse = (why: string, cause?: unknown) =>
    new RbeeError('INVALID_RESPONSE', `${name} answered something that cannot be understood: ${why}`, {
      details: {
        service: name,
        ...(/position (\d+)/.exec(why) ? { position: Number(/position (\d+)/.exec(why)?.[1]) } : {}),
      },
      suggestion: `check that the program behind this address is ${name}, and restart it`,
      cause,
    });
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw refuse((cause as Error).message.slice(0, 120), cause);
  }
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw refuse(
    parsed.error.issues
      .map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`)
      .join('; ')
      .slice(0, 300),
  );
}

async function toPeerError(target: Target, response: TransportResponse): Promise<RbeeError> {
  const text = await readText(response);
  try {
    const error = fromErrorEnvelope(JSON.parse(text));
    if (error) return error;
  } catch {
    // Not JSON: what follows reports it as an answer that cannot be understood.
  }
  const { name } = target.transport.peer;
  return new RbeeError('INVALID_RESPONSE', `${name} answered status ${response.status} without an error code`, {
    details: { service: name, status: response.status },
    suggestion: `check that the program behind this address is ${name}, and restart it`,
  });
}
