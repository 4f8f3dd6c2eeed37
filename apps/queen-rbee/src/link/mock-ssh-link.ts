import type { Narrate } from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import { DirectLink, type DirectLinkOptions } from './direct-link.js';
import type { RemoteSession } from './remote-session.js';

/** An SSH link whose connection is simulated, to a hive on this machine; see `readMockSsh`. */
export class MockSshLink extends DirectLink {
  override readonly kind = 'ssh';
  readonly #session: RemoteSession;

  constructor(options: DirectLinkOptions & { readonly session: RemoteSession }) {
    super(options);
    this.#session = options.session;
  }

  override reach(narrate: Narrate, signal?: AbortSignal): Promise<void> {
    return this.#session.connect(narrate, signal);
  }

  override onLost(): () => void {
    return this.#session.onLost((_reason: RbeeError) => undefined);
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#session.close();
  }
}
