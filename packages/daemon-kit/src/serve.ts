import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import {
  type BodyOf,
  correlationIdSchema,
  type EventOf,
  type JsonOf,
  type ParamsOf,
  parseInput,
  type QueryOf,
  RbeeError,
  type Route,
  type RouteTable,
  toRbeeError,
} from '@rbee/protocol';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { z } from 'zod';
import { addressesOf, authenticate, pathOf, toPathPattern } from './authenticate.js';
import type { Clock } from './clock.js';
import { whenDrained } from './drained.js';
import { EventStream } from './event-stream.js';
import { FailureLimit, isBadInput } from './failure-limit.js';
import { type BodyLimit, DEFAULT_BODY_LIMIT, jsonBody, limitRest, refuseLargeBody } from './limits.js';
import type { Logger } from './logger.js';
import { logFailure, renderError, translateBodyError } from './render-error.js';
import type { Secret } from './secret-file.js';

/** One request, parsed and checked. */
export interface Call<R extends Route = Route> {
  readonly params: ParamsOf<R>;
  readonly query: QueryOf<R>;
  readonly body: BodyOf<R>;
  readonly correlationId: string;
  /** Whose call it is, as far as fairness between callers goes: the address that it came from. */
  readonly client: string;
  /** The fingerprint of the key that the caller showed, as `a3f2c1`; nothing where no key is needed. */
  readonly caller?: string | undefined;
  /** When the caller's patience ends, milliseconds since the epoch. */
  readonly deadline: number | undefined;
  /** Aborted with CANCELLED when the client is gone, with REQUEST_TIMEOUT when the deadline has passed. */
  readonly signal: AbortSignal;
  /** Whether the caller asked for an event stream by its Accept header. */
  readonly acceptsEventStream: boolean;
  /** The bytes of an upload as they arrive; empty for every other route. */
  readonly upload: AsyncIterable<Uint8Array>;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly log: Logger;
}

/** A JSON answer with another status than the route's first one, or with headers. */
export class Reply<B> {
  constructor(
    readonly body: B,
    readonly status: number,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {}
}

/** The answer of a route that sends a file: the whole of it, or the range that the caller asked for. */
export class FileReply {
  constructor(readonly path: string) {}
}

/** The writing end of a text answer. */
export interface TextStream {
  /** Sends text; the first one, also an empty one, sends the status line. Returns false when the reader is behind: then await `drained`. */
  write(text: string): boolean;
  /** Resolves when the reader has caught up; rejects with the signal's reason when it goes away first. */
  drained(signal: AbortSignal): Promise<void>;
}

type StreamedJson<R extends Route> = R['answer'] extends { kind: 'sse'; json: infer S extends z.ZodType }
  ? z.output<S>
  : never;

/** What a handler of a stream may return when it has not opened it: the JSON answer. One that only streams returns nothing. */
// biome-ignore lint/suspicious/noConfusingVoidType: as above
type AnswerInstead<R extends Route> = StreamedJson<R> | Reply<StreamedJson<R>> | undefined | void;

export type Handler<R extends Route> = R['answer']['kind'] extends 'json'
  ? (call: Call<R>) => Promise<JsonOf<R> | Reply<JsonOf<R>>>
  : R['answer']['kind'] extends 'sse'
    ? (call: Call<R>, stream: EventStream<EventOf<R>>) => Promise<AnswerInstead<R>>
    : R['answer']['kind'] extends 'text'
      ? (call: Call<R>, stream: TextStream) => Promise<void>
      : R['answer']['kind'] extends 'bytes'
        ? (call: Call<R>) => Promise<FileReply>
        : (call: Call<R>) => Promise<void>;

export type Handlers<T extends RouteTable> = { readonly [K in keyof T]: Handler<T[K]> };

export interface ServeOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** The name of the service, for who is refused. */
  readonly service?: string;
  /**
   * The key that callers need; without one every caller is accepted. It is read for each request, so that a getter may give
   * another one later.
   */
  readonly key?: Secret | undefined;
  /** Keys of the workers that the service knows now: each counts on the routes with `callers: 'workers'`. */
  readonly workerKeys?: () => Iterable<Secret>;
  /** Largest accepted body in bytes, read for each request. Default 1 MiB. */
  readonly bodyLimit?: BodyLimit;
  /** So many bad requests of one client within a second are answered by what is wrong, more of them with 429. Default 50. */
  readonly failuresPerSecond?: number;
  readonly keepAliveMs?: number;
  /** Told about every request that passed the key check, so that a daemon knows when it was last used. */
  readonly onCall?: (routeName: string) => void;
}

const NO_BYTES: AsyncIterable<Uint8Array> = Readable.from([]);
const KEEP_ALIVE_MS = 10_000;
const FAILURES_PER_SECOND = 50;
/** The last moment that a date can hold. */
const MAX_DATE_MS = 8.64e15;

/**
 * What answers a route table: lets in who has the key, parses what comes, runs the handler, renders its answer or its error.
 * Every failure is the error envelope, also of what is no request for any route.
 */
export function serve<T extends RouteTable>(routes: T, handlers: Handlers<T>, options: ServeOptions): RequestListener {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  // What no handler catches must not be answered with a stack.
  app.set('env', 'production');
  const letIn = authenticate(routes, options);
  const limitOf = ({ headers }: IncomingMessage) => {
    const { bodyLimit = DEFAULT_BODY_LIMIT } = options;
    return typeof bodyLimit === 'number' ? bodyLimit : bodyLimit(headers);
  };
  app.use(assignCorrelationId, limitRest(options.clock), letIn);
  const parseBody = jsonBody(limitOf, options.clock);
  const refuseLarge = refuseLargeBody(limitOf);
  for (const [name, route] of Object.entries(routes)) {
    const handler = handlers[name] as unknown as (call: Call, stream?: unknown) => Promise<unknown>;
    for (const { method, path } of addressesOf({ [name]: route })) {
      const steps: express.RequestHandler[] = [
        (request, response, next) => {
          if (!route.open) requireAdmission(response);
          if (request.method === 'HEAD' && hasOpenEnd(route)) throw toMethodError(response, [method]);
          options.onCall?.(name);
          next();
        },
        ...(route.upload ? [] : [refuseLarge]),
        ...(route.body ? [parseBody] : []),
        (request, response, next) => {
          answer(route, handler, request, response, options).catch(next);
        },
      ];
      app[method.toLowerCase() as 'get'](path.replace(/\{(\w+)\}/g, ':$1'), ...steps);
    }
  }
  app.use(refuseUnknown(routes));
  const failures = new FailureLimit(options.failuresPerSecond ?? FAILURES_PER_SECOND);
  app.use((caught: unknown, request: Request, response: Response, _next: NextFunction) => {
    const error = toRbeeError(translateBodyError(caught, limitOf(request)));
    const over = isBadInput(error) && failures.note(clientOf(request), options.clock.monotonic()) === 'over';
    renderError(over ? toTooMany(failures.perSecond, error) : error, request, response, options.log);
  });
  return (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const [request, response] = [incoming as Request, outgoing as Response];
    app(request, response, (caught?: unknown) => refuseUnreadable(caught, request, response, letIn, options.log));
  };
}

/** Answers in place of express, which has a page of its own for what it cannot read as an address. */
function refuseUnreadable(
  caught: unknown,
  request: Request,
  response: Response,
  letIn: ReturnType<typeof authenticate>,
  log: Logger,
): void {
  try {
    assignCorrelationId(request, response, () => undefined);
    letIn(request, response, () => undefined);
    const bad = new RbeeError('INVALID_REQUEST', 'the request cannot be read', { details: { reason: 'bad_path' } });
    renderError(caught ?? bad, request, response, log);
  } catch (error) {
    renderError(error, request, response, log);
  }
}

/** The door has let the request in; what is found without having passed it is a fault of the routing. */
function requireAdmission(response: Response): void {
  if (response.locals.admitted !== true) throw new RbeeError('MISSING_API_KEY', 'this route needs a key');
}

function clientOf({ socket }: IncomingMessage): string {
  return socket.remoteAddress?.replace(/^::ffff:/, '') ?? 'unknown';
}

function toTooMany(limit: number, cause: RbeeError): RbeeError {
  return new RbeeError('TOO_MANY_REQUESTS', `more than ${limit} bad requests within a second`, {
    details: { limit, window_ms: 1000, retry_after_seconds: 1 },
    suggestion: 'look at what the first of them were answered with, and send fewer',
    cause,
  });
}

/** Whether an answer may go on for ever, so that it makes no sense to run it for its headers alone. */
function hasOpenEnd(route: Route): boolean {
  return route.answer.kind === 'sse' || route.answer.kind === 'text';
}

function assignCorrelationId(request: Request, response: Response, next: NextFunction): void {
  const given = correlationIdSchema.safeParse(request.headers['x-correlation-id']);
  response.locals.correlationId = given.success ? given.data : randomUUID();
  response.setHeader('X-Correlation-Id', response.locals.correlationId as string);
  next();
}

async function answer(
  route: Route,
  handler: (call: Call, stream?: unknown) => Promise<unknown>,
  request: Request,
  response: Response,
  options: ServeOptions,
): Promise<void> {
  const correlationId = response.locals.correlationId as string;
  const abort = new AbortController();
  const noticeClose = () => {
    if (response.writableFinished) return;
    abort.abort(new RbeeError('CANCELLED', 'the client closed the connection', { correlationId }));
  };
  if (response.closed) noticeClose();
  response.once('close', noticeClose);
  const deadline = readDeadline(request);
  const remaining = deadline === undefined ? undefined : deadline - options.clock.now();
  if (remaining !== undefined && remaining <= 0) throw toDeadlineError(deadline as number, correlationId);
  const call: Call = {
    params: (route.params ? parseInput(route.params, request.params, 'the path') : undefined) as Call['params'],
    query: (route.query ? parseInput(route.query, request.query, 'the query') : undefined) as Call['query'],
    body: (route.body ? parseInput(route.body, request.body ?? {}, 'the request') : undefined) as Call['body'],
    correlationId,
    client: clientOf(request),
    caller: response.locals.caller as string | undefined,
    deadline,
    signal: abort.signal,
    acceptsEventStream: request.headers.accept?.includes('text/event-stream') ?? false,
    upload: route.upload ? request.iterator({ destroyOnReturn: false }) : NO_BYTES,
    headers: request.headers,
    log: options.log.with({ correlation_id: correlationId }),
  };
  const cancelTimer =
    remaining === undefined
      ? undefined
      : options.clock.after(remaining, () => abort.abort(toDeadlineError(deadline as number, correlationId)));
  try {
    await run(route, handler, call, response, options);
  } finally {
    cancelTimer?.();
    // What a handler has left of an upload would stand in the way of the next request.
    if (route.upload) request.resume();
  }
}

/** What a handler threw; the platform's own AbortError says only that the call was aborted, its signal knows why. */
function toCallError(caught: unknown, signal: AbortSignal): RbeeError {
  const aborted = signal.aborted && (caught as Error | undefined)?.name === 'AbortError';
  return toRbeeError(aborted ? signal.reason : caught);
}

async function run(
  route: Route,
  handler: (call: Call, stream?: unknown) => Promise<unknown>,
  call: Call,
  response: Response,
  options: ServeOptions,
): Promise<void> {
  const { kind } = route.answer;
  if (kind === 'sse') return runStream(route, handler, call, response, options);
  if (kind === 'text') return runText(handler, call, response);
  const result = await handler(call).catch((caught: unknown) => {
    throw toCallError(caught, call.signal);
  });
  if (kind === 'bytes') return sendFile(response, result as FileReply, call.signal);
  if (kind === 'empty') response.status(204).end();
  else sendJson(response, result, route.answer.kind === 'json' ? (route.answer.status?.[0] ?? 200) : 200);
}

function sendJson(response: Response, result: unknown, status: number): void {
  if (result instanceof Reply) response.set(result.headers).status(result.status).json(result.body);
  else response.status(status).json(result);
}

/** Resolves when the file has gone out; a caller that leaves in the middle has had enough. */
function sendFile(response: Response, { path }: FileReply, signal: AbortSignal): Promise<void> {
  // Nobody keeps a copy of it that would have to be told from the next one.
  const options = { dotfiles: 'allow', etag: false, lastModified: false, cacheControl: false } as const;
  return new Promise((resolve, reject) => {
    response.type('application/octet-stream');
    response.sendFile(path, options, (cause?: NodeJS.ErrnoException & { status?: number }) => {
      if (!cause || signal.aborted || response.closed) return resolve();
      const reason = cause.status === 416 ? new RbeeError('INVALID_REQUEST', 'the file has no such range') : cause;
      reject(reason);
    });
  });
}

async function runText(
  handler: (call: Call, stream?: unknown) => Promise<unknown>,
  call: Call,
  response: Response,
): Promise<void> {
  const open = () => {
    if (response.headersSent) return;
    response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-cache' });
    response.flushHeaders();
  };
  const stream: TextStream = {
    write(text) {
      if (response.writableEnded) throw new Error('text was sent after the end of the answer');
      open();
      return text === '' || response.write(text);
    },
    drained: (signal) => whenDrained(response, signal),
  };
  try {
    await handler(call, stream);
  } catch (caught) {
    throw toCallError(caught, call.signal);
  }
  open();
  response.end();
}

async function runStream(
  route: Route,
  handler: (call: Call, stream?: unknown) => Promise<unknown>,
  call: Call,
  response: Response,
  options: ServeOptions,
): Promise<void> {
  const unnamed = route.answer.kind === 'sse' && route.answer.unnamed === true;
  const stream = new EventStream(response, {
    clock: options.clock,
    unnamed,
    keepAliveMs: Math.min(route.keepAliveMs ?? Number.POSITIVE_INFINITY, options.keepAliveMs ?? KEEP_ALIVE_MS),
  });
  try {
    const result = await handler(call, stream);
    if (!stream.opened && result !== undefined) {
      sendJson(response, result, 200);
      return;
    }
    if (!stream.terminated) throw new Error(`the stream of ${route.path} ended without a terminal event`);
  } catch (caught) {
    const error = toCallError(caught, call.signal);
    if (!stream.opened) throw error;
    logFailure(error, call.log, route.path);
    stream.fail(error, call.correlationId);
  }
  stream.finish();
}

/** The time in ISO 8601, or milliseconds since the epoch; what is neither, or beyond any date, is no deadline. */
function readDeadline(request: Request): number | undefined {
  const given = request.headers['x-request-deadline'] ?? request.headers['x-deadline'];
  if (typeof given !== 'string') return undefined;
  const ms = /^\d+$/.test(given) ? Number(given) : /^\d{4}-\d\d-\d\dT/.test(given) ? Date.parse(given) : Number.NaN;
  return ms <= MAX_DATE_MS ? ms : undefined;
}

function toDeadlineError(deadline: number, correlationId: string): RbeeError {
  const text = new Date(deadline).toISOString();
  return new RbeeError('REQUEST_TIMEOUT', `the deadline ${text} has passed`, {
    details: { deadline: text },
    suggestion: 'allow more time, for example with --timeout 10m',
    correlationId,
  });
}

function refuseUnknown(routes: RouteTable) {
  const patterns = addressesOf(routes).map(({ method, path }) => ({ method, pattern: toPathPattern(path) }));
  return (request: Request, response: Response) => {
    const path = pathOf(request);
    const matching = patterns.filter(({ pattern }) => pattern.test(path));
    if (matching.length === 0) throw new RbeeError('NOT_FOUND', 'there is no such route');
    throw toMethodError(response, [...new Set(matching.map(({ method }) => method))]);
  };
}

function toMethodError(response: Response, allowed: readonly string[]): RbeeError {
  response.setHeader('Allow', allowed.join(', '));
  return new RbeeError('METHOD_NOT_ALLOWED', `this route answers ${allowed.join(', ')} only`, { details: { allowed } });
}
