import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { RouteTable } from '@rbee/protocol';
import { addressesOf } from '../authenticate.js';
import type { Secret } from '../secret-file.js';

export interface RouteScan {
  readonly url: string;
  readonly routes: RouteTable;
  /** The key of the service. */
  readonly key: Secret;
  /** A key that is right at another service. */
  readonly foreignKey: Secret;
  /** Paths that belong to no route of this service, beside the ones that every scan tries. */
  readonly strangePaths?: readonly string[];
}

export interface ScanResult {
  /** What was answered otherwise than it has to be, in words; empty for a service that is closed. */
  readonly findings: readonly string[];
  /** How many requests were sent. */
  readonly requests: number;
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'] as const;
const STRANGE_PATHS = [
  ...['/', '/v1', '/v2', '/v3/health', '/health/x', '/HEALTH', '//health', '/v1//health', '/%2e%2e/', '/%zz', '/%00'],
  ...['/v1/health%2f..', '/admin', '/.env', '/index.html', '/v1/workers/%E0%A4%A', '*', 'http://['],
];
/** Requests that are under way at the same time. */
const AT_ONCE = 8;
const ANSWER_MS = 5_000;

interface Probe {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Promises a large body and sends none of it: who wants to read it first never answers. */
  readonly heldBack?: true;
}

interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/**
 * Asks a running service for every address of its table, and for some outside, by every method: without a key, with wrong ones
 * and with malformed headers, with bodies of several kinds. It holds when each is refused alike with 401 before anything of the
 * body is read, when only health is open, and when with the right key nothing outside the table answers.
 */
export async function scanRoutes(scan: RouteScan): Promise<ScanResult> {
  const addresses = addressesOf(scan.routes);
  const open = new Set(addresses.filter(({ route }) => route.open).map(({ path }) => path));
  const paths = [...new Set(addresses.map(({ path }) => path))].map((path) => ({
    path: path.replace(/\{\w+\}/g, 'w-1'),
    open: open.has(path),
  }));
  const strange = [...STRANGE_PATHS, ...(scan.strangePaths ?? [])];
  const closed = [...paths.filter((each) => !each.open).map(({ path }) => path), ...strange];
  const checks: (readonly [Probe, (answer: Answered) => string | undefined])[] = [
    ...METHODS.flatMap((method) =>
      closed.flatMap((path) =>
        refusedProbes(scan, method, path).map((probe) => [probe, expectRefusal(probe)] as const),
      ),
    ),
    ...METHODS.flatMap((method) =>
      [...open].map((path) => [{ method, path, headers: {} }, expectOpen(method, addresses, path)] as const),
    ),
    ...METHODS.flatMap((method) =>
      strange.map((path) => {
        const probe = { method, path, headers: { Authorization: `Bearer ${scan.key.reveal()}` } };
        return [probe, expectNothing(method)] as const;
      }),
    ),
  ];
  return { findings: await runChecks(scan.url, checks), requests: checks.length };
}

async function runChecks(
  url: string,
  checks: readonly (readonly [Probe, (answer: Answered) => string | undefined])[],
): Promise<string[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const findings: string[] = [];
  const queue = [...checks];
  const work = async () => {
    for (let next = queue.pop(); next; next = queue.pop()) {
      const [probe, judge] = next;
      const finding = await send(url, probe, agent).then(judge, (error: Error) => error.message);
      if (finding !== undefined) findings.push(`${describeProbe(probe)}: ${finding}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  agent.destroy();
  return findings;
}

/** Key and header in every wrong form, and bodies that would each be answered differently if somebody read them. */
function refusedProbes({ key, foreignKey }: RouteScan, method: string, path: string): Probe[] {
  const shown = key.reveal();
  const headers = [
    undefined,
    'Bearer wrong',
    `Bearer ${foreignKey.reveal()}`,
    `bearer ${shown}`,
    `Bearer  ${shown}`,
    `Bearer${shown}`,
    'Bearer ',
    `Basic ${shown}`,
    shown,
  ];
  const probes = headers.map(
    (header): Probe => ({
      method,
      path,
      headers: header === undefined ? {} : { Authorization: header },
    }),
  );
  for (const body of ['{}', '{"not": JSON']) probes.push({ method, path, headers: {}, body });
  return [...probes, { method, path, headers: {}, heldBack: true }];
}

const describeProbe = ({ method, path, headers, body, heldBack }: Probe) =>
  `${method} ${path} [${headers.Authorization ?? 'no key'}]${heldBack ? ' with a body held back' : ` ${body ?? ''}`}`;

function expectRefusal({ method, path }: Probe) {
  return ({ status, headers, text }: Answered) => {
    if (status !== 401) return `status ${status} in place of 401`;
    if (headers['www-authenticate'] !== 'Bearer') return 'no WWW-Authenticate';
    if (headers.allow !== undefined) return 'the methods of the route are told';
    if (method === 'HEAD') return undefined;
    const code = codeOf(text);
    if (code !== 'MISSING_API_KEY' && code !== 'INVALID_API_KEY') return `the code ${code}`;
    return path.length > 8 && text.includes(path) ? 'the path is echoed' : undefined;
  };
}

function expectOpen(method: string, addresses: ReturnType<typeof addressesOf>, path: string) {
  const answers = addresses.some((each) => each.path === path && each.method === (method === 'HEAD' ? 'GET' : method));
  return ({ status }: Answered) =>
    status === (answers ? 200 : 405) ? undefined : `status ${status} for the path of health`;
}

function expectNothing(method: string) {
  return ({ status, text }: Answered) => {
    if (![400, 404, 405].includes(status)) return `status ${status} outside the table, with the right key`;
    return method === 'HEAD' || codeOf(text) !== undefined ? undefined : 'an answer without the envelope';
  };
}

function codeOf(text: string): string | undefined {
  try {
    return (JSON.parse(text) as { error?: { code?: string } }).error?.code;
  } catch {
    // What is no JSON has no code, and the scan says so.
    return undefined;
  }
}

function send(url: string, { method, path, headers, body, heldBack }: Probe, agent: Agent): Promise<Answered> {
  const { hostname, port } = new URL(url);
  const length = heldBack ? 2 * 1024 * 1024 : Buffer.byteLength(body ?? '');
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      host: hostname,
      port,
      path,
      method,
      headers: { ...headers, ...(length > 0 ? { 'Content-Length': String(length) } : {}) },
      // What is held back takes its connection with it.
      agent: heldBack ? new Agent({ keepAlive: false }) : agent,
      timeout: ANSWER_MS,
    });
    outgoing.once('timeout', () => outgoing.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    outgoing.on('error', reject);
    outgoing.once('response', (incoming) => {
      incoming.toArray().then((chunks: Buffer[]) => {
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          text: Buffer.concat(chunks).toString('utf8'),
        });
        if (heldBack) outgoing.destroy();
      }, reject);
    });
    if (heldBack) outgoing.flushHeaders();
    else outgoing.end(body);
  });
}
