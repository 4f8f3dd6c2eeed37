import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { RbeeError } from '@rbee/protocol';
import express, { type NextFunction, type Request, type RequestHandler } from 'express';
import type { Clock } from './clock.js';

/** Largest accepted body in bytes: one figure, or one that depends on what the request says about itself. */
export type BodyLimit = number | ((headers: IncomingHttpHeaders) => number);

export const DEFAULT_BODY_LIMIT = 1024 * 1024;
/** A body that brings no byte for so long is given up. */
const BODY_IDLE_MS = 10_000;
/** What a caller may still send of a body that nobody reads, so that it gets to the answer, and how long. */
const REST_BYTES = 4 * 1024 * 1024;
const REST_MS = 2_000;
const REST_LOOK_MS = 50;

/** The error for a body that is larger than the limit. */
export function toTooLarge(limit: number): RbeeError {
  return new RbeeError('PAYLOAD_TOO_LARGE', `the body is larger than ${limit} bytes`, {
    details: { limit_bytes: limit },
  });
}

/** Refuses a body by its declared length before anything of it is read, on routes without a body as well. */
export function refuseLargeBody(limitOf: (request: Request) => number): RequestHandler {
  return (request, _response, next) => {
    const declared = Number(request.headers['content-length'] ?? 0);
    const limit = limitOf(request);
    next(declared > limit ? toTooLarge(limit) : undefined);
  };
}

/**
 * Reads a JSON body. Larger ones are refused as soon as that shows, without waiting for their end, and so are those that
 * bring no byte for 10 s.
 */
export function jsonBody(limitOf: (request: Request) => number, clock: Clock): RequestHandler {
  const parsers = new Map<number, RequestHandler>();
  const parserOf = (limit: number) => {
    const parser = parsers.get(limit) ?? express.json({ limit, strict: false, type: () => true });
    parsers.set(limit, parser);
    return parser;
  };
  return (request, response, next) => {
    const limit = limitOf(request);
    const watch = new BodyWatch(request, clock, limit, next);
    parserOf(limit)(request, response, (error?: unknown) => watch.done(toReadable(error)));
  };
}

/** A body that is not packed as it says comes from the parser without a word on what it is. */
function toReadable(error: unknown): unknown {
  const { status, type } = (error ?? {}) as { status?: number; type?: string };
  if (status !== 400 || type !== undefined) return error;
  return new RbeeError('INVALID_REQUEST', 'the body is not encoded as its Content-Encoding says', {
    details: { reason: 'bad_encoding' },
    cause: error,
  });
}

/** Goes on once: when the body has been read, is too large, or comes too slowly. */
class BodyWatch {
  readonly #request: IncomingMessage;
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #next: NextFunction;
  #bytes = 0;
  #settled = false;
  #cancelTimer: () => void;

  constructor(request: IncomingMessage, clock: Clock, limit: number, next: NextFunction) {
    this.#request = request;
    this.#clock = clock;
    this.#limit = limit;
    this.#next = next;
    this.#cancelTimer = clock.after(BODY_IDLE_MS, this.#giveUp);
    request.on('data', this.#count);
    request.once('close', this.#stop);
  }

  /** Told by the parser, which may come late: it waits for the end of what it has refused. */
  readonly done = (error?: unknown): void => {
    if (this.#settled) return;
    this.#settled = true;
    this.#stop();
    this.#next(error);
  };

  readonly #count = (chunk: Buffer): void => {
    this.#bytes += chunk.byteLength;
    this.#cancelTimer();
    if (this.#bytes > this.#limit) this.done(toTooLarge(this.#limit));
    else this.#cancelTimer = this.#clock.after(BODY_IDLE_MS, this.#giveUp);
  };

  readonly #giveUp = (): void => this.done(toSlowSender(BODY_IDLE_MS));

  readonly #stop = (): void => {
    this.#cancelTimer();
    this.#request.off('data', this.#count);
    this.#request.off('close', this.#stop);
  };
}

/** The error for a request that comes too slowly to be waited for. */
export function toSlowSender(limitMs: number): RbeeError {
  return new RbeeError('REQUEST_TIMEOUT', `the request brought nothing for ${limitMs} ms`, {
    details: { reason: 'slow_sender', limit_ms: limitMs },
    suggestion: 'send the whole request at once; if it was sent at once, check the network',
  });
}

/**
 * Lets a caller whose request was answered before its body had come send a little more, so that the answer reaches it, and
 * then breaks its connection off: what nobody reads must not come for ever.
 */
export function limitRest(clock: Clock): RequestHandler {
  return (request, response, next) => {
    response.once('finish', () => {
      if (!request.complete) watchRest(request, clock);
    });
    next();
  };
}

function watchRest(request: IncomingMessage, clock: Clock): void {
  const { socket } = request;
  const startBytes = socket.bytesRead;
  const startMs = clock.monotonic();
  const stop = () => {
    cancel();
    socket.off('close', stop);
  };
  const cancel = clock.every(REST_LOOK_MS, () => {
    const late = clock.monotonic() - startMs >= REST_MS;
    if (!late && socket.bytesRead - startBytes <= REST_BYTES) return;
    stop();
    socket.destroy();
  });
  socket.once('close', stop);
  request.once('close', stop);
}
