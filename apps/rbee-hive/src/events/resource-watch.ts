import type { Clock, Logger } from '@rbee/daemon-kit';
import type { Resources } from '@rbee/protocol';

const LOOK_MS = 5_000;
/** A change of free memory or disk that counts: 64 MB, or 2 % of all there is where that is less. */
const NOTICEABLE_MB = 64;
const NOTICEABLE_SHARE = 0.02;
const MB_PER_GB = 1024;

export interface ResourceWatchOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Must be cheap: it is called every 5 s while somebody listens. */
  readonly read: () => Promise<Resources>;
  /** Whether anybody listens. */
  readonly isHeard: () => boolean;
  readonly publish: (resources: Resources) => void;
}

/** Tells listeners when free memory or disk has changed noticeably since they last heard of it. */
export class ResourceWatch {
  readonly stop: () => void;
  private lastTold: Resources | undefined;
  private looking = false;

  constructor(private readonly options: ResourceWatchOptions) {
    const { clock, log } = options;
    this.stop = clock.every(LOOK_MS, () => {
      this.look().catch((error: unknown) => log.warn({ error }, 'memory and disk cannot be read'));
    });
  }

  /** Listeners have heard these figures in another way. */
  told(resources: Resources): void {
    this.lastTold = resources;
  }

  private async look(): Promise<void> {
    const { isHeard, read, publish } = this.options;
    if (this.looking || !isHeard()) return;
    this.looking = true;
    try {
      const resources = await read();
      if (this.lastTold && !isNoticeable(this.lastTold, resources)) return;
      this.lastTold = resources;
      publish(resources);
    } finally {
      this.looking = false;
    }
  }
}

/** Whether free memory or free disk differ so much that it is worth telling. */
export function isNoticeable(before: Resources, now: Resources): boolean {
  const { ram_available_mb: ram, ram_total_gb: ramTotal, disk_available_mb: disk, disk_total_gb: diskTotal } = now;
  const differs = (was: number, is: number, totalGb: number) =>
    Math.abs(is - was) >= Math.min(NOTICEABLE_MB, totalGb * MB_PER_GB * NOTICEABLE_SHARE) && is !== was;
  return differs(before.ram_available_mb, ram, ramTotal) || differs(before.disk_available_mb, disk, diskTotal);
}
