import type { Logger } from '@rbee/daemon-kit';
import { nodeNotFound } from '../placement/place-task.js';
import type { LiveNode } from './live-node.js';

/** A short patience: a list is shown without what does not answer by then. */
const LOOK_MS = 1_000;

/** The nodes that the queen knows. */
export class Nodes {
  readonly #byName: ReadonlyMap<string, LiveNode>;
  readonly #log: Logger;

  constructor(nodes: readonly LiveNode[], log: Logger) {
    this.#byName = new Map(nodes.map((node) => [node.name, node]));
    this.#log = log;
  }

  /** Throws NODE_NOT_FOUND. */
  get(name: string): LiveNode {
    const node = this.#byName.get(name);
    if (!node) throw nodeNotFound(name, this.all());
    return node;
  }

  all(): LiveNode[] {
    return [...this.#byName.values()];
  }

  /** All nodes, or the one that is named. */
  select(name: string | undefined): LiveNode[] {
    return name === undefined ? this.all() : [this.get(name)];
  }

  /** The node that has a worker, if any has. */
  findByWorker(id: string): LiveNode | undefined {
    return this.all().find((node) => node.worker(id));
  }

  /** Gives hives that run, but were not met yet, a moment to be met. Starts none. */
  async look(nodes: readonly LiveNode[]): Promise<void> {
    await Promise.all(nodes.map((node) => this.#lookAt(node)));
  }

  #lookAt(node: LiveNode): Promise<void> {
    return new Promise((resolve) => {
      const cancel = node.link.hive.clock.after(LOOK_MS, resolve);
      node
        .connect()
        .catch((error: Error) => this.#log.debug({ node: node.name, reason: error.message }, 'no hive answers'))
        .finally(() => {
          cancel();
          resolve();
        });
    });
  }

  close(): void {
    for (const node of this.all()) node.close();
  }
}
