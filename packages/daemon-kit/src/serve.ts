import { randomUUID } from 'node:crypto';
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
  toErrorEnvelope,
  toRbeeError,
} from '@rbee/protocol';
import express, { type NextFunction, type Request, type Response } from 'express';
import type { z } from 'zod';
import { checkBearer } from './bearer.js';
import type { Clock } from './clock.js';
import { EventStream } from './event-stream.js';
import type { Logger } from './logger.js';
import type { Secret } from './secret-file.js';

/** One request, parsed and checked. */
export interface Call<R extends Route = Route> {
  readonly params: ParamsOf<R>;
  readonly query: QueryOf<R>;
  readonly body: BodyOf<R>;
  readonly correlationId: string;
  /** When the caller's patience ends, milliseconds since the epoch. */
  readonly deadline: number | undefined;
  /** Aborted with CANCELLED when the client is gone, with REQUEST_TIMEOUT when the deadline has passed. */
  readonly signal: AbortSignal;
  /** Whether the caller asked for an event stream by its Accept header. */
  readonly acceptsEventStream: boolean;
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

/** The writing end of a text answer. */
export interface TextStream {
  /** Returns false when the reader is behind. */
  write(text: string): boolean;
}

type StreamedJson<R extends Route> = R['answer'] extends { kind: 'sse'; json: infer S extends z.ZodType }
  ? z.output<S>
  : never;

export type Handler<R extends Route> = R['answer']['kind'] extends 'json'
  ? (call: Call<R>) => Promise<JsonOf<R> | Reply<JsonOf<R>>>
  : R['answer']['kind'] extends 'sse'
    ? (call: Call<R>, stream: EventStream<EventOf<R>>) => Promise<StreamedJson<R> | undefined | void>
    : R['answer']['kind'] extends 'text'
      ? (call: Call<R>, stream: TextStream) => Promise<void>
      : (call: Call<R>) => Promise<void>;

export type Handlers<T extends RouteTable> = { readonly [K in keyof T]: Handler<T[K]> };

export interface ServeOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** The key that callers need; without one every caller is accepted. */
  readonly key?: Secret | undefined;
  /** Largest accepted body in bytes. Default 1 MiB. */
  readonly bodyLimit?: number;
  readonly keepAliveMs?: number;
  /** Told about every request that passed the key check, so that a daemon knows when it was last used. */
  readonly onCall?: (routeName: string) => void;
}

const BODY_LIMIT = 1024 * 1024;
const KEEP_ALIVE_MS = 10_000;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The express app that answers a route table: parses what comes in, runs the handler, renders its answer or its error. */
export function serve<T extends RouteTable>(routes: T, handlers: Handlers<T>, options: ServeOptions): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.use(assignCorrelationId);
  const parseBody = express.json({ limit: options.bodyLimit ?? BODY_LIMIT, strict: false, type: () => true });
  for (const [name, route] of Object.entries(routes)) {
    const handler = handlers[name] as unknown as (call: Call, stream?: unknown) => Promise<unknown>;
    for (const { method, path } of [{ method: route.method, path: route.path }, ...withMethod(route)]) {
      const steps: express.RequestHandler[] = [
        (request, _response, next) => {
          if (!route.open) checkBearer(request.headers.authorization, options.key, options.log);
          options.onCall?.(name);
          next();
        },
        ...(route.body ? [parseBody] : []),
        (request, response, next) => {
          answer(route, handler, request, response, options).catch(next);
        },
      ];
      app[method.toLowerCase() as 'get'](path.replace(/\{(\w+)\}/g, ':$1'), ...steps);
    }
  }
  app.use(refuseUnknown(routes));
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    renderError(translateBodyError(error, options.bodyLimit ?? BODY_LIMIT), request, response, options.log);
  });
  return app;
}

function withMethod(route: Route) {
  return (route.aliases ?? []).map((alias) => ({ method: alias.method ?? route.method, path: alias.path }));
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
  response.once('close', () => {
    if (!response.writableFinished)
      abort.abort(new RbeeError('CANCELLED', 'the client closed the connection', { correlationId }));
  });
  const deadline = readDeadline(request);
  const remaining = deadline === undefined ? undefined : deadline - options.clock.now();
  if (remaining !== undefined && remaining <= 0) throw toDeadlineError(deadline as number, correlationId);
  const cancelTimer =
    remaining === undefined
      ? undefined
      : options.clock.after(Math.min(remaining, MAX_TIMER_MS), () =>
          abort.abort(toDeadlineError(deadline as number, correlationId)),
        );
  const call: Call = {
    params: (route.params ? parseInput(route.params, request.params, 'the path') : undefined) as Call['params'],
    query: (route.query ? parseInput(route.query, request.query, 'the query') : undefined) as Call['query'],
    body: (route.body ? parseInput(route.body, request.body ?? {}, 'the request') : undefined) as Call['body'],
    correlationId,
    deadline,
    signal: abort.signal,
    acceptsEventStream: request.headers.accept?.includes('text/event-stream') ?? false,
    headers: request.headers,
    log: options.log.with({ correlation_id: correlationId }),
  };
  try {
    await run(route, handler, call, response, options);
  } finally {
    cancelTimer?.();
  }
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
  if (kind === 'text') {
    const open = () => {
      if (!response.headersSent)
        response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-cache' });
    };
    await handler(call, {
      write(text: string) {
        open();
        return response.write(text);
      },
    });
    open();
    response.end();
    return;
  }
  const result = await handler(call);
  if (kind === 'empty') response.status(204).end();
  else if (result instanceof Reply) response.set(result.headers).status(result.status).json(result.body);
  else response.status(route.answer.kind === 'json' ? (route.answer.status?.[0] ?? 200) : 200).json(result);
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
    keepAliveMs: options.keepAliveMs ?? KEEP_ALIVE_MS,
  });
  try {
    const result = await handler(call, stream);
    if (!stream.opened && result !== undefined) {
      response.json(result);
      return;
    }
    if (!stream.terminated) throw new Error(`the stream of ${route.path} ended without a terminal event`);
  } catch (caught) {
    const error = toRbeeError(caught);
    if (!stream.opened) throw error;
    logFailure(error, call.log, route.path);
    stream.fail(error, call.correlationId);
  }
  stream.finish();
}

function readDeadline(request: Request): number | undefined {
  const given = request.headers['x-request-deadline'] ?? request.headers['x-deadline'];
  if (typeof given !== 'string') return undefined;
  const ms = /^\d+$/.test(given) ? Number(given) : Date.parse(given);
  return Number.isFinite(ms) ? ms : undefined;
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
  const patterns = Object.values(routes).flatMap((route) =>
    [{ method: route.method, path: route.path }, ...withMethod(route)].map(({ method, path }) => ({
      method,
      pattern: new RegExp(`^${path.replace(/[.+]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+')}/?$`),
    })),
  );
  return (request: Request, response: Response, next: NextFunction) => {
    const allowed = [
      ...new Set(patterns.filter(({ pattern }) => pattern.test(request.path)).map(({ method }) => method)),
    ];
    if (allowed.length === 0) return next(new RbeeError('NOT_FOUND', 'there is no such route'));
    response.setHeader('Allow', allowed.join(', '));
    next(
      new RbeeError('METHOD_NOT_ALLOWED', `this route answers ${allowed.join(', ')} only`, { details: { allowed } }),
    );
  };
}

function translateBodyError(error: unknown, limit: number): unknown {
  const { type, status } = error as { type?: string; status?: number };
  if (type === 'entity.too.large') {
    return new RbeeError('PAYLOAD_TOO_LARGE', `the body is larger than ${limit} bytes`, {
      details: { limit_bytes: limit },
    });
  }
  if (type === 'entity.parse.failed') return new RbeeError('INVALID_REQUEST', 'the body is not valid JSON');
  if (error instanceof URIError || (typeof type === 'string' && status !== undefined && status < 500)) {
    return new RbeeError('INVALID_REQUEST', 'the request cannot be read', { details: { reason: type ?? 'bad_path' } });
  }
  return error;
}

function renderError(caught: unknown, request: Request, response: Response, log: Logger): void {
  const error = toRbeeError(caught);
  const correlationId = (response.locals.correlationId as string | undefined) ?? randomUUID();
  logFailure(error, log.with({ correlation_id: correlationId }), request.path);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
  if ((error.status === 429 || error.status === 503) && (error.retryable || error.code === 'QUEUE_FULL')) {
    response.setHeader('Retry-After', String(error.details.retry_after_seconds ?? 1));
  }
  const envelope = toErrorEnvelope(error, correlationId);
  // Readers of the older form look for the slot figures beside the code.
  const { slots_total, slots_busy } = error.details;
  const slots = error.code === 'ALL_SLOTS_BUSY' ? { slots_total, slots_busy } : {};
  response.status(error.status).json({ error: { ...envelope.error, ...slots } });
}

function logFailure(error: RbeeError, log: Logger, path: string): void {
  const fields = { error_code: error.code, path, status: error.status };
  if (error.code === 'INTERNAL_ERROR')
    log.error({ ...fields, error: error.cause ?? error }, 'a request failed unexpectedly');
  else log.info(fields, `a request failed: ${error.message}`);
}
