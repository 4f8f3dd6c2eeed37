import { type CanBind, tryToBind } from './port-allocator.js';

/** Ports whose worker has gone while something still listens there; nobody gets one before it can be bound. */
export class PortQuarantine {
  private readonly held = new Map<number, string>();
  private readonly checks = new Set<Promise<unknown>>();

  constructor(private readonly canBind: CanBind = tryToBind) {}

  get ports(): ReadonlySet<number> {
    return new Set(this.held.keys());
  }

  /** Resolves with whether the port is free; one that is not is kept from others from now on. */
  async examine(host: string, port: number): Promise<boolean> {
    // Held from the first moment: a worker that is started now must not meet the probe on its port.
    this.held.set(port, host);
    const check = this.canBind(host, port);
    this.checks.add(check);
    const free = await check.finally(() => this.checks.delete(check));
    if (free) this.held.delete(port);
    return free;
  }

  /** Lets go of the ports that have become free. */
  async recheck(): Promise<void> {
    await Promise.all([...this.held].map(([port, host]) => this.examine(host, port)));
  }

  /** Resolves when nothing is being probed any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.checks);
  }
}
