import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** What an evil peer does to one request, on its bare connection. */
export type Evil = (socket: Socket) => void;

const STREAM_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const JSON_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n';
/** So long between two bytes of what trickles. */
const TRICKLE_MS = 20;

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}

/** Sends a piece again and again while the connection stands. */
function repeat(socket: Socket, piece: string, everyMs: number): void {
  const timer = setInterval(() => socket.write(piece), everyMs);
  socket.once('close', () => clearInterval(timer));
}

/** Events as frames, sent at once; then the connection ends well, or is broken off. */
export function sendEvents(events: readonly object[], end: 'done' | 'close' | 'hang'): Evil {
  return (socket) => {
    const frames = events.map((event) => {
      return `event: ${(event as { type?: string }).type}\ndata: ${JSON.stringify(event)}\n\n`;
    });
    socket.write(STREAM_HEAD + frames.map(chunk).join(''));
    if (end === 'done') socket.end(`${chunk('data: [DONE]\n\n')}0\r\n\r\n`);
    if (end === 'close') socket.end();
  };
}

/** Misbehaviours that have nothing to do with what was asked for, by what they are. */
export const EVILS: Readonly<Record<string, Evil>> = {
  'says nothing': () => undefined,
  'closes at once': (socket) => socket.destroy(),
  'resets the connection': (socket) => socket.resetAndDestroy(),
  'hangs after the status line': (socket) => socket.write('HTTP/1.1 200 OK\r\n'),
  'hangs after the head of a stream': (socket) => socket.write(STREAM_HEAD),
  'hangs after the head of an answer': (socket) => socket.write(JSON_HEAD),
  'hangs in the middle of an answer': (socket) => socket.write(JSON_HEAD + chunk('{"status": "o')),
  'trickles its head': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nX-Slow: ');
    repeat(socket, 'h', TRICKLE_MS);
  },
  'trickles a stream': (socket) => {
    socket.write(`${STREAM_HEAD}${chunk('event: narration\ndata: ')}`);
    repeat(socket, chunk('x'), TRICKLE_MS);
  },
  'trickles comments': (socket) => {
    socket.write(STREAM_HEAD);
    repeat(socket, chunk(': still here\n\n'), TRICKLE_MS);
  },
  'trickles an answer': (socket) => {
    socket.write(`${JSON_HEAD}${chunk('{"x": "')}`);
    repeat(socket, chunk('x'), TRICKLE_MS);
  },
  'sends garbage': (socket) => socket.end(Buffer.from([0, 1, 254, 255, 10, 13, 7, 0, 200, 13, 10])),
  'sends a garbage stream': (socket) =>
    socket.end(`${STREAM_HEAD}${chunk('event: token\ndata: {]\n\nno field at all\n\n')}0\r\n\r\n`),
  'sends half a frame and closes': (socket) => socket.end(`${STREAM_HEAD}${chunk('event: token\ndata: {"type":"to')}`),
  'sends half a chunk and closes': (socket) => socket.end(`${STREAM_HEAD}ffff\r\nevent: token\n`),
  'sends an endless header': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nX-Long: ');
    repeat(socket, 'a'.repeat(4096), 1);
  },
  'sends an event of more than 8 MB': (socket) => {
    socket.write(`${STREAM_HEAD}${chunk('event: narration\ndata: ')}`);
    for (let part = 0; part < 18; part++) socket.write(chunk('x'.repeat(512 * 1024)));
  },
  'answers with a page': (socket) =>
    socket.end(
      'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 28\r\n\r\n<html>please log in</html>\r\n',
    ),
  'answers with another status': (socket) =>
    socket.end('HTTP/1.1 418 Teapot\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nshort'),
  'redirects to itself': (socket) =>
    socket.end('HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'),
  'ends a stream without any event': (socket) => socket.end(`${STREAM_HEAD}${chunk('data: [DONE]\n\n')}0\r\n\r\n`),
  'answers with JSON of another shape': (socket) => socket.end(`${JSON_HEAD}${chunk('{"weather": "fine"}')}0\r\n\r\n`),
};

export interface EvilPeerOptions {
  /** Port of the good peer that answers all other requests; left out: they get 404. */
  readonly behind?: number;
}

/** A real server that does evil to the requests that it is told to, and hands all others to a good one behind it. */
export class EvilPeer {
  /** Requests that are met with evil, as `METHOD /path`, and what is done to them; empty: none. */
  rules: { readonly match: RegExp; readonly evil: Evil }[] = [];
  /** How many requests were met with evil. */
  met = 0;
  readonly #options: EvilPeerOptions;
  readonly #server: Server;
  readonly #suffering = new Set<Socket>();
  readonly #forwarded = new Set<ClientRequest>();

  private constructor(options: EvilPeerOptions) {
    this.#options = options;
    this.#server = createServer((incoming, outgoing) => {
      const name = `${incoming.method} ${incoming.url}`;
      const rule = this.rules.find(({ match }) => match.test(name));
      if (rule) this.#torment(incoming.socket, rule.evil);
      else if (this.#options.behind === undefined) outgoing.writeHead(404).end();
      else this.#handOn(incoming, outgoing, this.#options.behind);
    });
  }

  static async start(options: EvilPeerOptions = {}): Promise<EvilPeer> {
    const peer = new EvilPeer(options);
    await new Promise<void>((resolve) => peer.#server.listen(0, '127.0.0.1', resolve));
    return peer;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Connections that were met with evil and that the other side still holds open. */
  get suffering(): number {
    return this.#suffering.size;
  }

  async stop(): Promise<void> {
    for (const each of this.#forwarded) each.destroy();
    for (const socket of this.#suffering) socket.destroy();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  #torment(socket: Socket, evil: Evil): void {
    this.met++;
    this.#suffering.add(socket);
    socket.once('close', () => this.#suffering.delete(socket));
    evil(socket);
  }

  #handOn(incoming: IncomingMessage, outgoing: ServerResponse, port: number): void {
    const { method, url, headers } = incoming;
    const onward = request({ host: '127.0.0.1', port, method, path: url, headers, agent: false }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
      answer.on('error', () => outgoing.destroy());
    });
    this.#forwarded.add(onward);
    onward.on('close', () => this.#forwarded.delete(onward));
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  }
}
