import { type HttpTransportOptions, httpTransport, type Transport } from '@rbee/daemon-kit';

/** The transports to the workers of one node, one for each address. */
export class WorkerTransports {
  readonly #options: Omit<HttpTransportOptions, 'name' | 'url'>;
  readonly #byUrl = new Map<string, Transport>();

  constructor(options: Omit<HttpTransportOptions, 'name' | 'url'>) {
    this.#options = options;
  }

  at(url: string): Transport {
    let transport = this.#byUrl.get(url);
    if (!transport) {
      transport = httpTransport({ ...this.#options, name: 'llm-worker-rbee', url });
      this.#byUrl.set(url, transport);
    }
    return transport;
  }

  /** Closes every connection; the transports stay usable. */
  reset(): void {
    for (const transport of this.#byUrl.values()) transport.close();
  }

  close(): void {
    this.reset();
    this.#byUrl.clear();
  }
}
