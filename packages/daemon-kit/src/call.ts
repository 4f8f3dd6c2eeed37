import {
  type BodyInputOf,
  decodeSse,
  fillPath,
  fromErrorEnvelope,
  isRbeeError,
  type JsonOf,
  type QueryInputOf,
  RbeeError,
  type Route,
  type SseMessage,
  VERSION,
} from '@rbee/protocol';
import type { z } from 'zod';
import { type Clock, withTimeout } from './clock.js';
import { findJsonFault } from './json-fault.js';
import type { Secret } from './secret-file.js';
import type { Transport, TransportBody, TransportResponse, Upload } from './transport.js';

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
  /** The body of a route that takes an upload. */
  readonly upload?: Upload | undefined;
  readonly correlationId?: string | undefined;
  /** Milliseconds since the epoch; sent along, so that every hop keeps to it. */
  readonly deadline?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Longest time to the whole answer (JSON) or to its first byte (streams). Default 10 s, none for slow routes. */
  readonly timeoutMs?: number | undefined;
  /** Longest time without a byte on an open stream, comments included; left out: any. */
  readonly silenceMs?: number | undefined;
  /** The last event that the caller has of a stream, which then goes on behind it. */
  readonly lastEventId?: string | undefined;
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
/** Larger JSON answers are refused, so that a lying peer cannot fill the memory. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** The last moment that a date can hold; a later deadline is none. */
const MAX_DATE_MS = 8.64e15;

/** Calls a route that answers JSON. Throws the peer's coded error, CONNECTION_TIMEOUT or INVALID_RESPONSE. */
export async function callJson<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R> = {},
): Promise<JsonOf<R>> {
  const read = (response: TransportResponse) => readText(target, response);
  const { result: text, release } = await exchange(target, route, options, 'application/json', read);
  release();
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
  const { headers, body } = await openBody(target, route, options, 'text/event-stream');
  const toBroken = (cause?: unknown) => (isRbeeError(cause) ? cause : toBrokenError(target, options.signal, cause));
  const source = options.silenceMs === undefined ? body : limitSilence(body, target, options.silenceMs);
  return { headers, messages: decodeSse(source, toBroken), close: () => body.destroy() };
}

/** The same bytes; closes the connection and throws WORKER_CONNECTION_LOST when none come for a while. */
async function* limitSilence(body: TransportBody, target: Target, limitMs: number): AsyncGenerator<Uint8Array> {
  const { clock, transport } = target;
  let silent = false;
  const giveUp = () => {
    silent = true;
    body.destroy();
  };
  let cancelTimer = clock.after(limitMs, giveUp);
  // A reader that closes the stream need not come back for the rest.
  body.once?.('close', () => cancelTimer());
  try {
    for await (const chunk of body) {
      cancelTimer();
      cancelTimer = clock.after(limitMs, giveUp);
      yield chunk;
    }
  } catch (cause) {
    if (!silent) throw cause;
  } finally {
    cancelTimer();
  }
  if (!silent) return;
  throw new RbeeError('WORKER_CONNECTION_LOST', `${transport.peer.name} sent nothing for ${limitMs} ms`, {
    details: { service: transport.peer.name, silence_ms: limitMs },
    suggestion: 'check the network to its machine, and that the process is not stopped',
  });
}

/**
 * Calls a route that answers text; resolves when its status line has come. The iteration throws WORKER_CONNECTION_LOST
 * when the text breaks off; leaving it early closes the connection.
 */
export async function callText<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R> = {},
): Promise<AsyncIterable<Uint8Array>> {
  const { body } = await openBody(target, route, options, 'text/plain');
  return (async function* () {
    try {
      yield* body;
    } catch (cause) {
      throw toBrokenError(target, options.signal, cause);
    }
  })();
}

/**
 * Calls a route that answers a file, for the bytes from `start` to before `end`; resolves when its status line has come.
 * The iteration throws WORKER_CONNECTION_LOST when they break off; leaving it early closes the connection.
 */
export async function callBytes<R extends Route>(
  target: Target,
  route: R,
  range: { readonly start: number; readonly end: number },
  options: CallOptions<R> = {},
): Promise<AsyncIterable<Uint8Array>> {
  const { body, status } = await openBody(target, route, options, 'application/octet-stream', {
    Range: `bytes=${range.start}-${range.end - 1}`,
  });
  if (status !== 206) {
    body.destroy();
    throw toInvalidAnswer(target, 'not the part of the file that was asked for', { status });
  }
  return (async function* () {
    let bytes = 0;
    try {
      for await (const chunk of body) {
        bytes += chunk.byteLength;
        yield chunk;
      }
    } catch (cause) {
      throw toBrokenError(target, options.signal, cause);
    }
    if (bytes !== range.end - range.start) throw toBrokenError(target, options.signal, undefined);
  })();
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

/** A body that goes on after the status line: the caller's signal stays connected until it has ended. */
async function openBody<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R>,
  accept: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<TransportResponse> {
  const read = async (answer: TransportResponse) => answer;
  const { result: response, release } = await exchange(target, route, options, accept, read, headers);
  response.body.once?.('close', release);
  return response;
}

/** One request and what `read` makes of its answer. `release` disconnects the caller's signal. */
async function exchange<R extends Route, T>(
  target: Target,
  route: R,
  options: CallOptions<R>,
  accept: string,
  read: (response: TransportResponse) => Promise<T>,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ result: T; release: () => void }> {
  const timeoutMs = options.timeoutMs ?? (route.slow ? undefined : CALL_TIMEOUT_MS);
  const { name } = target.transport.peer;
  const abort = new AbortController();
  const forward = () => abort.abort(options.signal?.reason);
  const release = () => options.signal?.removeEventListener('abort', forward);
  if (options.signal?.aborted) forward();
  options.signal?.addEventListener('abort', forward, { once: true });
  const run = async (): Promise<T> => {
    const response = await target.transport.send(toPath(route, options), {
      method: route.method,
      headers: { ...toHeaders(target, route, options, accept), ...headers },
      body: options.body === undefined ? options.upload : JSON.stringify(options.body),
      signal: abort.signal,
    });
    if (response.status >= 300 || response.status < 200) throw await toPeerError(target, response);
    return read(response);
  };
  try {
    if (timeoutMs === undefined) return { result: await run(), release };
    const result = await withTimeout(target.clock, timeoutMs, run(), () => {
      const error = new RbeeError('CONNECTION_TIMEOUT', `${name} did not answer within ${timeoutMs} ms`, {
        details: { service: name, timeout_ms: timeoutMs },
        suggestion: `check that ${name} runs and is not overloaded`,
      });
      abort.abort(error);
      return error;
    });
    return { result, release };
  } catch (error) {
    release();
    // What a broken connection says about itself is of no use when it was broken on purpose.
    throw abort.signal.aborted ? abort.signal.reason : error;
  }
}

function toPath<R extends Route>(route: R, options: CallOptions<R>): string {
  const path = fillPath(route.path, options.params);
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options.query ?? {})) if (value != null) query.set(key, String(value));
  return query.size > 0 ? `${path}?${query}` : path;
}

function toHeaders<R extends Route>(
  target: Target,
  route: R,
  options: CallOptions<R>,
  accept: string,
): Record<string, string> {
  return {
    Accept: accept,
    'X-Rbee-Version': VERSION,
    ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
    ...(options.upload === undefined ? {} : { 'Content-Type': 'application/octet-stream' }),
    // Whether the right service is there is found out by its open routes: until then it may be a stranger.
    ...(target.key && !route.open ? { Authorization: target.key.header() } : {}),
    ...(options.correlationId ? { 'X-Correlation-Id': options.correlationId } : {}),
    ...(options.lastEventId === undefined ? {} : { 'Last-Event-ID': options.lastEventId }),
    ...(options.deadline !== undefined && options.deadline <= MAX_DATE_MS
      ? { 'X-Request-Deadline': new Date(options.deadline).toISOString() }
      : {}),
  };
}

async function readText(target: Target, response: TransportResponse): Promise<string> {
  const { name } = target.transport.peer;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body) {
      bytes += chunk.byteLength;
      if (bytes > MAX_ANSWER_BYTES) throw toInvalidAnswer(target, `more than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (cause) {
    if (isRbeeError(cause)) throw cause;
    throw toBrokenAnswer(name, cause);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function toBrokenAnswer(name: string, cause: unknown): RbeeError {
  return new RbeeError('CONNECTION_TIMEOUT', `the connection to ${name} broke off while it answered`, {
    details: { service: name, cause: (cause as NodeJS.ErrnoException).code ?? 'unknown' },
    suggestion: `check that ${name} runs`,
    cause,
  });
}

function parseAnswer(target: Target, schema: z.ZodType, text: string): unknown {
  const body = parseJson(text);
  if (!body) {
    const position = findJsonFault(text);
    const where =
      position === undefined ? '' : position === text.length ? ', it ends early' : ` at position ${position}`;
    throw toInvalidAnswer(target, `broken JSON${where}`, position === undefined ? {} : { position });
  }
  const parsed = schema.safeParse(body.value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
  throw toInvalidAnswer(target, faults.join('; ').slice(0, 300));
}

function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    // The engine's message quotes the text, which may hold a key: the caller reports the position instead.
    return undefined;
  }
}

function toInvalidAnswer(target: Target, why: string, details: Record<string, unknown> = {}): RbeeError {
  const { name } = target.transport.peer;
  return new RbeeError('INVALID_RESPONSE', `${name} answered something that cannot be understood: ${why}`, {
    details: { service: name, ...details },
    suggestion: `check that the program behind this address is ${name}, and restart it`,
  });
}

async function toPeerError(target: Target, response: TransportResponse): Promise<RbeeError> {
  const body = parseJson(await readText(target, response));
  const { status } = response;
  return (
    fromErrorEnvelope(body?.value) ?? toInvalidAnswer(target, `status ${status} without an error code`, { status })
  );
}

function toBrokenError(target: Target, signal: AbortSignal | undefined, cause: unknown): Error {
  if (signal?.aborted) return signal.reason as Error;
  const { name } = target.transport.peer;
  return new RbeeError('WORKER_CONNECTION_LOST', `the stream from ${name} broke off`, {
    details: { service: name },
    suggestion: 'repeat the request; if it happens again, look at the logs: rbee-keeper logs',
    cause,
  });
}
