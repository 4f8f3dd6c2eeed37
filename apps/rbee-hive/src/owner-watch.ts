import { type Clock, everyLive, type Repeating } from '@rbee/daemon-kit';

export interface OwnerWatchOptions {
  clock: Clock;
  /** Silence after which the owner counts as lost. Read at each look; who changes it calls `rearm`. */
  readonly silenceMs: number;
  /** Whether a connection of the owner is open now. */
  isConnected: () => boolean;
  onLost: () => void;
}

/** Notices that the queen which started this hive is gone: no call of hers and no open event stream for a while. */
export class OwnerWatch {
  private lastContact: number;
  private readonly looks: Repeating;

  constructor(private readonly options: OwnerWatchOptions) {
    const { clock } = options;
    this.lastContact = clock.monotonic();
    this.looks = everyLive(
      clock,
      () => Math.max(20, options.silenceMs / 10),
      () => this.look(),
    );
  }

  /** The owner called. */
  contact(): void {
    this.lastContact = this.options.clock.monotonic();
  }

  /** The silence that is allowed has changed. */
  rearm(): void {
    this.looks.rearm();
  }

  stop(): void {
    this.looks.stop();
  }

  private look(): void {
    const { clock, silenceMs, isConnected, onLost } = this.options;
    if (isConnected()) this.contact();
    if (clock.monotonic() - this.lastContact < silenceMs) return;
    this.stop();
    onLost();
  }
}
