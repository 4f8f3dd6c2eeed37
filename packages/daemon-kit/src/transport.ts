import {
  Agent,
  type ClientRequestArgs,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { type Duplex, pipeline, Readable } from 'node:stream';
import { isRbeeError, RbeeError } from '@rbee/protocol';

export interface TransportRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Upload | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A body that is sent while it is read. */
export interface Upload {
  readonly bytes: AsyncIterable<Uint8Array>;
  /** How many there are, exactly. */
  readonly length: number;
}

/** Bytes as they arrive. Leaving its iteration early closes the connection. */
export type TransportBody = AsyncIterable<Uint8Array> & {
  destroy(): unknown;
  /** Tells the end, whichever way it came, so that the caller's signal can be let go. */
  once?(event: 'close', listener: () => void): unknown;
};

export interface TransportResponse {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: TransportBody;
}

/** The way to one service. Everything above it is the same for a local, a forwarded and a direct connection. */
export interface Transport {
  /** Name and address of the service, for messages. */
  readonly peer: { readonly name: string; readonly url: string };
  /**
   * Sends one request. Throws CONNECTION_TIMEOUT when the service cannot be reached, INVALID_RESPONSE when it does not speak
   * HTTP, or the signal's reason.
   */
  send(path: string, request: TransportRequest): Promise<TransportResponse>;
  /** Closes every connection, also those that are in use. */
  close(): void;
}

export interface HttpTransportOptions {
  readonly name: string;
  readonly url: string;
  /** How long a connection may take to be made. Default 5 s. */
  readonly connectTimeoutMs?: number;
  /**
   * Opens the byte streams that requests travel on, for example through a tunnel; left out: TCP connections. An error
   * with the `code` of a refused or broken connection counts as one; an rbee error reaches the caller as it is.
   */
  readonly openSocket?: OpenSocket;
}

export type OpenSocket = (address: { readonly host: string; readonly port: number }) => Promise<Duplex>;

/** An agent that keeps streams of any kind alive. */
class StreamAgent extends Agent {
  readonly #openSocket: OpenSocket;

  constructor(openSocket: OpenSocket) {
    super({ keepAlive: true });
    this.#openSocket = openSocket;
  }

  override createConnection(
    { host, port }: ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#openSocket({ host: host ?? '127.0.0.1', port: Number(port) }).then(
      (stream) => callback?.(null, stream),
      // The stream is not looked at beside an error.
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    );
  }
}

/** A transport over plain HTTP with kept-alive connections. Throws CONFIG_INVALID for an address of another kind. */
export function httpTransport(options: HttpTransportOptions): Transport {
  const { name, url, connectTimeoutMs = 5000 } = options;
  const base = readAddress(name, url);
  /** How often every connection was closed from here. */
  let closings = 0;
  const agent = options.openSocket
    ? new StreamAgent(options.openSocket)
    : new Agent({ keepAlive: true, noDelay: true });
  const send = (path: string, init: TransportRequest, mayRepeat: boolean): Promise<TransportResponse> =>
    new Promise((resolve, reject) => {
      const { signal, body } = init;
      if (signal?.aborted) return reject(signal.reason);
      const target: RequestOptions = {
        agent,
        host: base.hostname.replace(/^\[|\]$/g, ''),
        port: base.port || 80,
        path,
        method: init.method,
        headers: body === undefined ? init.headers : { ...init.headers, 'Content-Length': String(lengthOf(body)) },
      };
      const outgoing = httpRequest(target);
      const closingsBefore = closings;
      let answered = false;
      const timer = setTimeout(
        () => outgoing.destroy(Object.assign(new Error('connect timed out'), { code: 'ETIMEDOUT' })),
        connectTimeoutMs,
      );
      const abort = () => outgoing.destroy(signal?.reason as Error);
      signal?.addEventListener('abort', abort, { once: true });
      const settle = () => clearTimeout(timer);
      outgoing.once('socket', (socket) => (socket.connecting ? socket.once('connect', settle) : settle()));
      outgoing.once('close', () => {
        settle();
        signal?.removeEventListener('abort', abort);
      });
      outgoing.on('error', (cause: NodeJS.ErrnoException) => {
        settle();
        // An error behind the status line reaches the caller through the body.
        if (answered) return;
        if (signal?.aborted) return reject(signal.reason);
        if (isRbeeError(cause)) return reject(cause);
        // A kept-alive connection that the peer closed in this moment says nothing about the peer, and the request was not
        // taken. One that was closed from here may have carried it, and nothing may be done twice.
        const closedByPeer = closings === closingsBefore && (cause.code === 'ECONNRESET' || cause.code === 'EPIPE');
        const stale = outgoing.reusedSocket && closedByPeer;
        if (mayRepeat && stale) return resolve(send(path, init, false));
        reject(toConnectionError(name, base, cause, connectTimeoutMs));
      });
      outgoing.once('response', (incoming) => {
        answered = true;
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: incoming });
      });
      if (typeof body !== 'object') {
        outgoing.end(body);
        return;
      }
      const bytes = Readable.from(body.bytes, { objectMode: false });
      // Ahead of the pipeline, which would abort the request without saying why.
      bytes.once('error', (cause) => outgoing.destroy(cause));
      // Whatever ends it early is the error of the request; one that was answered early needs no more of the body.
      pipeline(bytes, outgoing, () => undefined);
    });
  return {
    peer: { name, url },
    // Bytes that were read once cannot be sent again.
    send: (path, init) => send(path, init, typeof init.body !== 'object'),
    close: () => {
      closings++;
      agent.destroy();
    },
  };
}

function lengthOf(body: string | Upload): number {
  return typeof body === 'string' ? Buffer.byteLength(body) : body.length;
}

function readAddress(name: string, url: string): URL {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base?.protocol === 'http:') return base;
  throw new RbeeError('CONFIG_INVALID', `the address of ${name} is not an http:// address`, {
    details: { service: name },
    suggestion: 'give an address such as http://127.0.0.1:8080',
  });
}

function toConnectionError(name: string, base: URL, cause: NodeJS.ErrnoException, connectTimeoutMs: number): RbeeError {
  const port = Number(base.port || 80);
  // What Node's parser of HTTP calls its errors: another attempt would end the same way.
  if (cause.code?.startsWith('HPE_')) {
    return new RbeeError('INVALID_RESPONSE', `what answers on port ${port} is not ${name}: it does not speak HTTP`, {
      details: { service: name, port },
      suggestion: `check the port, and that the program behind it is ${name}`,
      cause,
    });
  }
  const why: Record<string, string> = {
    ECONNREFUSED: 'the connection was refused',
    ETIMEDOUT: `no connection within ${connectTimeoutMs} ms`,
    ENOTFOUND: 'the host name is not known',
    ECONNRESET: 'the connection was reset',
  };
  return new RbeeError('CONNECTION_TIMEOUT', `${name} cannot be reached: ${why[cause.code ?? ''] ?? cause.message}`, {
    details: { service: name, port, cause: cause.code ?? 'unknown' },
    suggestion: `check that ${name} runs`,
    cause,
  });
}
