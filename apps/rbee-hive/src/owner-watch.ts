import type { Clock } from '@rbee/daemon-kit';

export interface OwnerWatchOptions {
  clock: Clock;
  /** Silence after which the owner counts as lost. */
  silenceMs: number;
  /** Whether a connection of the owner is open now. */
  isConnected: () => boolean;
  onLost: () => void;
}

/** Notices that the queen which started this hive is gone: no call of hers and no open event stream for a while. */
export class OwnerWatch {
  private lastContact: number;
  private readonly stopWatching: () => void;

  constructor(private readonly options: OwnerWatchOptions) {
    const { clock, silenceMs } = options;
    this.lastContact = clock.monotonic();
    this.stopWatching = clock.every(Math.max(20, silenceMs / 10), () => this.look());
  }

  /** The owner called. */
  contact(): void {
    this.lastContact = this.options.clock.monotonic();
  }

  stop(): void {
    this.stopWatching();
  }

  private look(): void {
    const { clock, silenceMs, isConnected, onLost } = this.options;
    if (isConnected()) this.contact();
    if (clock.monotonic() - this.lastContact < silenceMs) return;
    this.stop();
    onLost();
  }
}
