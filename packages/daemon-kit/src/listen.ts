import { randomUUID } from 'node:crypto';
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { RbeeError, toErrorEnvelope } from '@rbee/protocol';
import { toSlowSender } from './limits.js';
import type { Logger } from './logger.js';
import { toPublicJson } from './render-error.js';

/** A bound HTTP server. */
export interface Listening {
  readonly server: Server;
  readonly port: number;
  /** `http://host:port`. */
  readonly url: string;
  /** Takes no new connections, ends idle ones at once and the others after their answer, or after `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

/** What a server takes from its callers before anything is known about them. */
export interface ServerLimits {
  /** Open connections; requests on further ones are refused with 429. Default 2048: every stream of a task needs one. */
  readonly connections: number;
  /** Request line and headers together. Default 16 KiB. */
  readonly headerBytes: number;
  /** Until the headers are there. Default 10 s. */
  readonly headersMs: number;
  /** Until the whole request is there. Default 60 s. */
  readonly requestMs: number;
}

export interface ListenOptions {
  readonly limits?: Partial<ServerLimits>;
  /** Told when connections are dropped. */
  readonly log?: Logger;
}

const DEFAULT_LIMITS: ServerLimits = {
  connections: 2048,
  headerBytes: 16 * 1024,
  headersMs: 10_000,
  requestMs: 60_000,
};
/** So many connections beyond the limit still get an answer that says why; the rest is dropped. */
const REFUSED_POLITELY = 64;
const WARN_EVERY_MS = 10_000;

/** Binds a port (0: any free one). Throws CONFIG_INVALID with the port when it is taken or not allowed. */
export async function listen(
  service: string,
  listener: RequestListener,
  address: { readonly host: string; readonly port: number },
  options: ListenOptions = {},
): Promise<Listening> {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const server = createServer(toServerOptions(limits));
  server.maxConnections = limits.connections + REFUSED_POLITELY;
  const answers = new Answers(limits, listener);
  server.on('connection', answers.noteConnection);
  server.on('request', answers.answer);
  // An expectation that nobody here knows is ignored, as a server may, rather than refused without the envelope.
  server.on('checkExpectation', answers.answer);
  server.on('clientError', answers.refuse);
  warnOfDrops(server, options.log);
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => reject(toListenError(service, address, cause));
    server.once('error', refuse);
    server.listen(address.port, address.host, () => {
      server.off('error', refuse);
      resolve();
    });
  });
  // A connection that cannot be accepted, for example for want of file descriptors, must not end the service.
  server.on('error', (error) => process.emitWarning(error.message, 'ServerWarning'));
  let closing = false;
  // Node.js itself keeps a connection that becomes idle after `close` until its keep-alive time has passed.
  server.on('request', (_request, response) => {
    response.once('close', () => {
      if (closing) setImmediate(() => server.closeIdleConnections());
    });
  });
  const { port } = server.address() as AddressInfo;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return {
    server,
    port,
    url: `http://${host}:${port}`,
    close(graceMs = 1000) {
      return new Promise((resolve) => {
        closing = true;
        const force = setTimeout(() => server.closeAllConnections(), graceMs);
        server.close(() => {
          clearTimeout(force);
          resolve();
        });
        server.closeIdleConnections();
      });
    },
  };
}

function toServerOptions({ headerBytes, headersMs, requestMs }: ServerLimits): ServerOptions {
  return {
    // Node's default of 5 s would close a kept-alive connection in the moment in which a caller uses it again.
    keepAliveTimeout: 65_000,
    headersTimeout: Math.min(headersMs, requestMs),
    requestTimeout: requestMs,
    // Its default of 30 s would let a slow sender stay three times as long as it may.
    connectionsCheckingInterval: Math.min(1000, headersMs),
    maxHeaderSize: headerBytes,
    // Node.js would answer without the envelope.
    requireHostHeader: false,
  };
}

/** Stands in front of the listener: answers itself what is no request, or comes on one connection too many. */
class Answers {
  /** The open connections, and what is being answered on each. */
  readonly #connections = new Map<Socket, ServerResponse | undefined>();
  readonly #surplus = new WeakSet<Socket>();
  readonly #limits: ServerLimits;
  readonly #listener: RequestListener;

  constructor(limits: ServerLimits, listener: RequestListener) {
    this.#limits = limits;
    this.#listener = listener;
  }

  readonly noteConnection = (socket: Socket): void => {
    if (this.#connections.size >= this.#limits.connections) this.#surplus.add(socket);
    this.#connections.set(socket, undefined);
    socket.once('close', () => this.#connections.delete(socket));
  };

  readonly answer = (request: IncomingMessage, response: ServerResponse & { req: IncomingMessage }): void => {
    const { socket, headers, httpVersion } = request;
    if (this.#connections.has(socket)) this.#connections.set(socket, response);
    if (this.#surplus.has(socket)) refuseRequest(response, toTooManyConnections(this.#limits.connections));
    else if (headers.host === undefined && httpVersion === '1.1') refuseRequest(response, toNotHttp());
    else this.#listener(request, response);
  };

  /** What Node.js cannot read as a request, or did not get in time. */
  readonly refuse = (cause: NodeJS.ErrnoException, stream: unknown): void => {
    const socket = stream as Socket;
    const response = this.#connections.get(socket);
    // Behind the head of an answer nothing else can be said, and to a caller that has gone neither.
    const answering = response?.headersSent === true && !response.writableFinished;
    if (answering || cause.code === 'ECONNRESET' || !socket.writable) socket.destroy();
    else refuseConnection(socket, toClientError(cause, this.#limits));
  };
}

function toAnswer(error: RbeeError) {
  const id = randomUUID();
  const body = toPublicJson(toErrorEnvelope(error, id));
  const headers = {
    'Content-Type': 'application/json; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(body)),
    'X-Correlation-Id': id,
    ...(error.status === 429 ? { 'Retry-After': '1' } : {}),
    Connection: 'close',
  };
  return { body, headers };
}

function refuseRequest(response: ServerResponse, error: RbeeError): void {
  const { body, headers } = toAnswer(error);
  response.writeHead(error.status, headers).end(body);
}

/** Writes an answer by hand, where there is no response to write to, and ends the connection. */
function refuseConnection(socket: Socket, error: RbeeError): void {
  const { body, headers } = toAnswer(error);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  // A caller that never closes its side must not keep the connection.
  socket.end(`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\n${lines.join('')}\r\n${body}`, () =>
    socket.destroySoon(),
  );
}

function toClientError({ code }: NodeJS.ErrnoException, limits: ServerLimits): RbeeError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new RbeeError('PAYLOAD_TOO_LARGE', `the headers are larger than ${limits.headerBytes} bytes`, {
      details: { reason: 'headers_too_large', limit_bytes: limits.headerBytes },
    });
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return toSlowSender(limits.headersMs);
  return toNotHttp();
}

function toNotHttp(): RbeeError {
  return new RbeeError('INVALID_REQUEST', 'the request is not valid HTTP', { details: { reason: 'not_http' } });
}

function toTooManyConnections(limit: number): RbeeError {
  return new RbeeError('TOO_MANY_REQUESTS', `more than ${limit} connections are open`, {
    details: { reason: 'too_many_connections', limit, retry_after_seconds: 1 },
    suggestion: 'try again when other callers have left',
  });
}

function warnOfDrops(server: Server, log: Logger | undefined): void {
  let dropped = 0;
  let saidAt = Number.NEGATIVE_INFINITY;
  server.on('drop', () => {
    dropped++;
    const now = performance.now();
    if (now - saidAt < WARN_EVERY_MS) return;
    saidAt = now;
    log?.warn({ dropped }, 'too many connections: new ones are dropped');
  });
}

function toListenError(
  service: string,
  { host, port }: { host: string; port: number },
  cause: NodeJS.ErrnoException,
): RbeeError {
  const why: Record<string, string> = {
    EADDRINUSE: 'is in use by another process',
    EACCES: 'may not be opened by this user',
    EADDRNOTAVAIL: 'is on an address that this machine does not have',
  };
  return new RbeeError(
    'CONFIG_INVALID',
    `${service} cannot listen: port ${port} on ${host} ${why[cause.code ?? ''] ?? `fails (${cause.code})`}`,
    {
      details: { port, host, cause: cause.code },
      suggestion: `end the process that uses port ${port}, or choose another one with --port`,
      cause,
    },
  );
}
