import type { Readable } from 'node:stream';
import { type Clock, Secret } from '@rbee/daemon-kit/client';
import { VERSION } from '@rbee/protocol';
import { EnvHttpProxyAgent, request } from 'undici';
import { downloadFailed, type Subject, toNetworkError, toRefusedError } from './hub-errors.js';
import { resolveRedirect } from './resolve-redirect.js';

export interface HubConnectionOptions {
  /** Base address, without a slash at its end. */
  readonly endpoint: string;
  readonly token?: string | undefined;
  readonly clock: Clock;
  /** How long a server may be silent, in milliseconds, before its answer begins and within it. */
  readonly silenceMs: number;
}

export interface HubRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Statuses beside 2xx that are an answer and no error. */
  readonly accept?: readonly number[];
}

/** An answer whose body has not been read yet. */
export interface HubAnswer {
  readonly status: number;
  /** Names in lower case; those of the hub's own answer that tell about the file it sends us to included. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Readable;
  /** Host and port that it came from. */
  readonly host: string;
}

const CONNECT_MS = 10_000;
const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * Requests to a hub and the hosts that it sends us to. Only the hub itself gets the token. Proxies are taken from the
 * usual environment variables.
 */
export class HubConnection {
  private readonly agent: EnvHttpProxyAgent;
  private readonly origin: string;
  private readonly token: Secret | undefined;

  constructor(private readonly options: HubConnectionOptions) {
    const { endpoint, token, silenceMs } = options;
    this.agent = new EnvHttpProxyAgent({
      connectTimeout: CONNECT_MS,
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
    });
    this.origin = new URL(endpoint).origin;
    this.token = token === undefined ? undefined : new Secret(token).remember();
  }

  get endpoint(): string {
    return this.options.endpoint;
  }

  /** What errors tell about a request. */
  subject(repo: string, path?: string): Subject {
    return { endpoint: this.endpoint, repo, path, hasToken: this.token !== undefined };
  }

  /** Follows redirects to an answer. Throws what a refusal or a fault of the network means, or the signal's reason. */
  async get(address: string, subject: Subject, options: HubRequest): Promise<HubAnswer> {
    let url = new URL(address, this.endpoint);
    const linked = new Map<string, string>();
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const answer = await this.ask(url, subject, options);
      for (const [name, value] of answer.headers) if (name.startsWith('x-linked-')) linked.set(name, value);
      const location = REDIRECTS.has(answer.status) ? answer.headers.get('location') : undefined;
      if (location === undefined) {
        const headers = new Map([...answer.headers, ...linked]);
        const isAnswer = answer.status < 300 || options.accept?.includes(answer.status);
        if (isAnswer) return { ...answer, headers };
        drop(answer.body);
        const fromHub = url.origin === this.origin;
        throw toRefusedError({ ...answer, headers, fromHub }, subject, this.options.clock.now());
      }
      drop(answer.body);
      url = resolveRedirect(url, location, subject);
    }
    const reason = 'too many redirects';
    throw downloadFailed(subject, `${url.host} sends us on and on`, { reason, host: url.host });
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await this.agent.destroy();
  }

  private async ask(url: URL, subject: Subject, { headers, signal }: HubRequest): Promise<HubAnswer> {
    const isHub = url.origin === this.origin;
    const all = {
      'user-agent': `rbee/${VERSION}`,
      'accept-encoding': 'identity',
      ...headers,
      ...(isHub && this.token ? { authorization: this.token.header() } : {}),
    };
    try {
      const { statusCode, headers, body } = await request(url.href, { dispatcher: this.agent, headers: all, signal });
      const texts = Object.entries(headers).map(([name, value]) => [name, String(value)] as const);
      return { status: statusCode, headers: new Map(texts), body, host: url.host };
    } catch (error) {
      signal.throwIfAborted();
      throw toNetworkError(error, url.host, subject);
    }
  }
}

/** Gives up the body of an answer, with its connection. */
export function drop(body: Readable): void {
  body.on('error', () => undefined).destroy();
}
