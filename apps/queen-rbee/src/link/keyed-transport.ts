import { type Logger, orAborted, type Secret, type Transport, type TransportRequest } from '@rbee/daemon-kit';
import { hiveRoutes, RbeeError, type Route } from '@rbee/protocol';

/** Paths that need no key: whoever answers on them may still be a stranger, who must not learn it. */
const OPEN_PATHS: ReadonlySet<string> = new Set(
  Object.values<Route>(hiveRoutes)
    .filter((route) => route.open)
    .flatMap((route) => [route.path, ...(route.aliases ?? []).map((alias) => alias.path)]),
);

/** A service's key, read where the service keeps it when it is first needed, and then remembered. */
export class LearnedKey {
  readonly #read: () => Promise<Secret | undefined>;
  #known: Promise<Secret | undefined> | undefined;

  /** `read` gives `undefined` where there is no key. */
  constructor(read: () => Promise<Secret | undefined>) {
    this.#read = read;
  }

  /** The key; whoever asks at the same time shares one reading. Throws what the reading throws, and reads again the next time. */
  get(): Promise<Secret | undefined> {
    if (!this.#known) {
      const known = this.#read().then((key) => key?.remember());
      this.#known = known;
      known.catch(() => {
        if (this.#known === known) this.#known = undefined;
      });
    }
    return this.#known;
  }

  /** The key after this one was rejected; the same one where it still is the key. */
  async renew(rejected: Secret | undefined): Promise<Secret | undefined> {
    const known = this.get();
    // Of several that were rejected together the first one reads it anew for all.
    if ((await known) === rejected && this.#known === known) this.forget();
    return this.get();
  }

  forget(): void {
    this.#known = undefined;
  }
}

/** The hive behind a transport, for what is told of its key. */
export interface KeyedHive {
  readonly node: string;
  /** What its user should check when the key is refused. */
  readonly advice: string;
  readonly log: Logger;
}

/**
 * A transport that presents a hive's key with each request that needs one. When it is refused, the key is read anew and the
 * request sent once more. Throws INVALID_API_KEY or MISSING_API_KEY, with the node, when that is refused as well. Which key is
 * used is logged once.
 */
export function keyedTransport(inner: Transport, key: LearnedKey, hive: KeyedHive): Transport {
  const { node, log } = hive;
  let told: string | undefined;
  const withKey = (request: TransportRequest, secret: Secret | undefined): TransportRequest => {
    if (!secret) return request;
    const identity = secret.fingerprint;
    if (identity !== told) log.info({ node, identity }, 'calling the hive with this key');
    told = identity;
    return { ...request, headers: { ...request.headers, Authorization: secret.header() } };
  };
  const within = <T>(promise: Promise<T>, { signal }: TransportRequest) =>
    signal ? orAborted(promise, signal) : promise;
  return {
    peer: inner.peer,
    async send(path, request) {
      // Also ahead of a request that shows no key: the first contact is when one that cannot be read should be told.
      const secret = await within(key.get(), request);
      if (OPEN_PATHS.has(path)) return inner.send(path, request);
      const response = await inner.send(path, withKey(request, secret));
      if (response.status !== 401) return response;
      response.body.destroy();
      const renewed = await within(key.renew(secret), request);
      if (renewed === secret || (secret && renewed?.matches(secret))) throw toRefusal(hive, secret);
      const second = await inner.send(path, withKey(request, renewed));
      if (second.status !== 401) return second;
      second.body.destroy();
      throw toRefusal(hive, renewed);
    },
    close: () => inner.close(),
  };
}

/** In place of the hive's own words, which would be taken for those of the queen about the key that the user has shown. */
function toRefusal({ node, advice: suggestion }: KeyedHive, shown: Secret | undefined): RbeeError {
  const about = { service: 'rbee-hive', node };
  return shown
    ? new RbeeError('INVALID_API_KEY', `the rbee-hive of ${node} rejected the key of the queen`, {
        details: { ...about, reason: 'invalid_token' },
        suggestion,
      })
    : new RbeeError('MISSING_API_KEY', `the rbee-hive of ${node} needs a key, and the queen has none for it`, {
        details: { ...about, reason: 'missing_header' },
        suggestion,
      });
}
