import type { Narrate } from '@rbee/daemon-kit';
import type { RbeeError } from '@rbee/protocol';
import type { Machine } from '../machine/machine.js';

/** A machine behind one connection that comes and goes. */
export interface RemoteSession extends Machine {
  readonly connected: boolean;
  /** Opens the connection in a few attempts, of which each is told; callers share them. Throws SSH_*. */
  connect(narrate?: Narrate, signal?: AbortSignal): Promise<void>;
  /** Told each time the connection breaks, by which everything on it has ended. Returns how to stop listening. */
  onLost(listener: (reason: RbeeError) => void): () => void;
  /** Breaks the connection, if there is one. */
  drop(reason: RbeeError): void;
  /** Closes the connection for good. */
  close(): Promise<void>;
}
