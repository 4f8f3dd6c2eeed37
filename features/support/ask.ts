import { request } from 'node:http';
import type { RbeeWorld } from './world.js';

export const SERVICES = ['queen', 'hive', 'worker'] as const;
export type Service = (typeof SERVICES)[number];

/** Keys of the services, where a scenario has given them some. */
export type Keys = Partial<Record<Service, string>>;

export interface Asked {
  readonly method?: string;
  /** Sent as it is: neither encoded nor normalised. */
  readonly path: string;
  /** Value of the Authorization header, as the bytes of its UTF-8; left out: none is sent. */
  readonly authorization?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer | undefined;
  /** Address of this machine that the request comes from: callers are told apart by it. */
  readonly from?: string;
}

export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly ms: number;
}

const PIECE_BYTES = 64 * 1024;

/** One of ten million addresses of the loopback network, each another caller. */
let callers = 0;
function nextCaller(): string {
  callers++;
  return `127.${100 + ((callers >> 16) % 100)}.${(callers >> 8) % 256}.${1 + (callers % 254)}`;
}

/** Sends a request byte by byte as it is told to; each one from another address, unless one is given. */
export function askRaw(base: string, { method = 'GET', path, authorization, headers, body, from }: Asked) {
  const { hostname, port } = new URL(base);
  const begun = performance.now();
  const bytes = Buffer.from(body ?? '');
  return new Promise<Answered>((resolve, reject) => {
    const outgoing = request({
      hostname,
      port,
      method,
      path,
      agent: false,
      localAddress: from ?? nextCaller(),
      headers: {
        // As browsers, curl and fetch ask, although each request here has a connection of its own.
        Connection: 'keep-alive',
        ...headers,
        ...(authorization === undefined
          ? {}
          : { Authorization: Buffer.from(authorization, 'utf8').toString('latin1') }),
        ...(body === undefined ? {} : { 'Content-Length': bytes.byteLength }),
      },
    });
    let hasAnswered = false;
    outgoing.once('response', (response) => {
      hasAnswered = true;
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('error', reject);
      response.once('end', () => {
        const { statusCode: status = 0, headers: given } = response;
        resolve({ status, headers: given, text, ms: performance.now() - begun });
        outgoing.destroy();
      });
    });
    outgoing.on('error', (error) => {
      if (!hasAnswered) reject(new Error(`${method} ${base}${path}: ${error.message}`, { cause: error }));
    });
    // Piece by piece: of a body that is refused, the rest is not sent.
    const send = (at: number) => {
      if (hasAnswered) return;
      const next = at + PIECE_BYTES;
      if (next >= bytes.byteLength) outgoing.end(bytes.subarray(at));
      else if (outgoing.write(bytes.subarray(at, next))) setImmediate(send, next);
      else outgoing.once('drain', () => send(next));
    };
    send(0);
  });
}

export function urlOf(world: RbeeWorld, service: Service): string {
  if (service === 'queen') return world.queenUrl;
  return service === 'hive' ? world.hiveUrl : String(world.notes.get('worker url'));
}

/** The key that a service wants to see; `undefined`: it takes everybody. */
export function keyOf(world: RbeeWorld, service: Service): string | undefined {
  const { [service]: key } = (world.notes.get('keys') ?? {}) as Keys;
  if (key !== undefined || service === 'queen') return key;
  if (service === 'worker') return world.notes.get('worker key') as string | undefined;
  return world.hiveHeaders.Authorization?.slice('Bearer '.length);
}

/** Sends a request to a service, with its key unless another header is given. */
export async function ask(world: RbeeWorld, service: Service, asked: Asked): Promise<Answered> {
  const key = keyOf(world, service);
  const authorization = 'authorization' in asked ? asked.authorization : key && `Bearer ${key}`;
  const answer = await askRaw(urlOf(world, service), { ...asked, authorization });
  if (answer.status >= 400) world.secrets.note(`answer ${answer.status} of ${service}`, answer.text);
  return answer;
}

/** Works through items with so many at a time. */
export async function inTurns<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const walk = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, walk));
}
