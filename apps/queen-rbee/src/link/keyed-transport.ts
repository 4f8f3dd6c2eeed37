import { orAborted, type Secret, type Transport, type TransportRequest } from '@rbee/daemon-kit';

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
      const known = this.#read();
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

/** A transport that presents a key with each request. When it is rejected, the key is read anew and the request sent once more. */
export function keyedTransport(inner: Transport, key: LearnedKey): Transport {
  const withKey = (request: TransportRequest, secret: Secret | undefined): TransportRequest =>
    secret ? { ...request, headers: { ...request.headers, Authorization: `Bearer ${secret.reveal()}` } } : request;
  const within = <T>(promise: Promise<T>, { signal }: TransportRequest) =>
    signal ? orAborted(promise, signal) : promise;
  return {
    peer: inner.peer,
    async send(path, request) {
      const secret = await within(key.get(), request);
      const response = await inner.send(path, withKey(request, secret));
      if (response.status !== 401) return response;
      const renewed = await within(key.renew(secret), request);
      if (renewed?.reveal() === secret?.reveal()) return response;
      response.body.destroy();
      return inner.send(path, withKey(request, renewed));
    },
    close: () => inner.close(),
  };
}
