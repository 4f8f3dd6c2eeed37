import { type Logger, sleep, withTimeout } from '@rbee/daemon-kit';
import { nodeNotFound } from '../registry/node-not-found.js';
import type { LiveNode } from './live-node.js';

/** A short patience: nodes are shown, and a task placed, without what does not answer by then. */
const LOOK_MS = 1_000;
/** A glance is over within 200 ms, also while many nodes are met at the same time. */
const GLANCE_MS = 100;

/** The nodes that the queen knows: this machine, and those of the registry. */
export class Nodes {
  readonly #byName = new Map<string, LiveNode>();
  /** First attempts to meet a registered node; gone once they have ended or their time is up. */
  readonly #meetings = new Map<LiveNode, Promise<void>>();
  readonly #log: Logger;
  readonly #local: LiveNode;

  constructor(local: LiveNode, log: Logger) {
    this.#local = local;
    this.#log = log;
    this.#byName.set(local.name, local);
  }

  /** Takes a registered node in and follows it from now on; one of the same name must have been removed before. */
  add(node: LiveNode): void {
    this.#byName.set(node.name, node);
    node.watch();
    const { clock } = node.link.hive;
    const meeting = withTimeout(clock, LOOK_MS, node.connect(), () => new Error('it does not answer soon'))
      .catch((error: Error) =>
        this.#log.debug({ node: node.name, reason: error.message }, 'a node was not met at once'),
      )
      .finally(() => this.#meetings.delete(node));
    this.#meetings.set(node, meeting);
  }

  /** Forgets a registered node; its link is still to be closed. */
  remove(name: string): LiveNode | undefined {
    const node = name === this.#local.name ? undefined : this.#byName.get(name);
    if (!node) return undefined;
    this.#byName.delete(name);
    node.close();
    return node;
  }

  /** Throws NODE_NOT_FOUND. */
  get(name: string): LiveNode {
    const node = this.#byName.get(name);
    if (!node) throw nodeNotFound(name, this.all());
    return node;
  }

  find(name: string): LiveNode | undefined {
    return this.#byName.get(name);
  }

  /** This machine first, the others by name. */
  all(): LiveNode[] {
    const [local, ...others] = this.#byName.values();
    others.sort((a, b) => (a.name < b.name ? -1 : 1));
    return local ? [local, ...others] : others;
  }

  /** All nodes, or the one that is named. */
  select(name: string | undefined): LiveNode[] {
    return name === undefined ? this.all() : [this.get(name)];
  }

  /** The node that has a worker, if any has. */
  findByWorker(id: string): LiveNode | undefined {
    return this.all().find((node) => node.worker(id));
  }

  /**
   * Gives hives that run, but were not met yet, a moment to be met. Starts none. Nodes that were met, or whose first
   * attempt has failed, are followed anyway and waited for no more.
   */
  async look(nodes: readonly LiveNode[]): Promise<void> {
    await Promise.all(nodes.map((node) => (node === this.#local ? this.#lookAtLocal() : this.#meetings.get(node))));
  }

  /** A look that is over almost at once; nodes that take longer are there for the next one. */
  async glance(nodes: readonly LiveNode[]): Promise<void> {
    const over = new AbortController();
    const { clock } = this.#local.link.hive;
    const timeUp = sleep(clock, GLANCE_MS, over.signal).catch(() => undefined);
    await Promise.race([this.look(nodes), timeUp]).finally(() => over.abort());
  }

  /** A hive that an operator starts on this machine is noticed when it is asked for. */
  async #lookAtLocal(): Promise<void> {
    const { clock } = this.#local.link.hive;
    await withTimeout(clock, LOOK_MS, this.#local.connect(), () => new Error('it does not answer soon')).catch(
      (error: Error) => this.#log.debug({ node: this.#local.name, reason: error.message }, 'no hive answers'),
    );
  }

  close(): void {
    for (const node of this.all()) node.close();
  }
}
