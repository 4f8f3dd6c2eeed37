import { callJson, httpTransport, systemClock, type Target } from '@rbee/daemon-kit';
import { hiveRoutes, isRbeeError, type LinkKind, RbeeError } from '@rbee/protocol';
import type { HiveHealth, Link } from '../link/link.js';

/** A link whose way to the machine a test breaks and mends; HTTP goes to a port of this machine. */
export class ScriptedLink implements Link {
  readonly hive: Target;
  ownsHive = false;
  /** Error of the next attempts to reach the machine; `undefined`: it is reached. */
  reachError: RbeeError | undefined;
  /** What happens when a hive is to be started. */
  start: () => Promise<HiveHealth> = () => Promise.reject(new RbeeError('HIVE_NOT_INSTALLED', 'no hive is installed'));
  resets = 0;
  attempts = 0;
  /** Told at each attempt to reach the machine. */
  onReach: () => void = () => undefined;
  readonly #listeners = new Set<(reason: RbeeError) => void>();

  constructor(
    readonly kind: LinkKind,
    readonly node: string,
    port: number,
  ) {
    const url = `http://127.0.0.1:${port}`;
    this.hive = { transport: httpTransport({ name: 'rbee-hive', url }), clock: systemClock };
  }

  workerAt(url: string): Target {
    return { transport: httpTransport({ name: 'llm-worker-rbee', url }), clock: systemClock };
  }

  async reach(): Promise<void> {
    this.attempts++;
    this.onReach();
    if (this.reachError) throw this.reachError;
  }

  onLost(listener: (reason: RbeeError) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Breaks the way to the machine; it stays broken until `reachError` is taken away. */
  lose(reason: RbeeError): void {
    this.reachError = reason;
    for (const listener of this.#listeners) listener(reason);
  }

  async findHive(): Promise<HiveHealth | undefined> {
    try {
      return await callJson(this.hive, hiveRoutes.health);
    } catch (error) {
      if (isRbeeError(error) && error.details.cause === 'ECONNREFUSED') return undefined;
      throw error;
    }
  }

  startHive(): Promise<HiveHealth> {
    return this.start();
  }

  async stopHive(): Promise<boolean> {
    return this.ownsHive;
  }

  reset(): void {
    this.resets++;
  }

  async close(): Promise<void> {
    this.hive.transport.close();
  }
}
