import type { Clock, Logger, Narrate, Timeouts } from '@rbee/daemon-kit';
import { type AddNode, LOCALHOST, type NodeAnswer, RbeeError, type UpdateNode } from '@rbee/protocol';
import { findLauncher } from '../machine/find-launcher.js';
import type { Machine } from '../machine/machine.js';
import type { NodeRecord } from '../registry/node-record.js';
import { type NodeRegistry, nodeAlreadyExists } from '../registry/node-registry.js';
import { ownFingerprint } from '../registry/own-host-key.js';
import { detectCapabilities } from './capabilities.js';
import { checkDirectNode } from './check-direct-node.js';
import { type CreateSession, checkSshNode } from './check-ssh-node.js';
import { draftOfAddition, draftOfChange, type NodeDraft } from './node-draft.js';
import { Turns } from './turns.js';

export interface NodeAdminOptions {
  readonly registry: NodeRegistry;
  readonly createSession: CreateSession;
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Program that stands in for the hive's own launcher on every node (`remote.binary_path`). */
  readonly binaryPath?: string | undefined;
  /** Told after a node was added or changed, with its record, or removed; the next change of the node waits for it. */
  readonly onChange: (name: string, record: NodeRecord | undefined) => void | Promise<void>;
}

/**
 * Adds, changes and removes nodes; what is saved was reached before. Requests about one node are done one after the
 * other.
 */
export class NodeAdmin {
  readonly #options: NodeAdminOptions;
  readonly #turns = new Turns();

  constructor(options: NodeAdminOptions) {
    this.#options = options;
  }

  /**
   * Looks at a node and saves it. Anything that fails before leaves nothing. Throws NODE_ALREADY_EXISTS, SSH_* and
   * what a hive answers.
   */
  add(request: AddNode, narrate: Narrate, signal: AbortSignal): Promise<NodeAnswer> {
    const { registry, onChange } = this.#options;
    const name = request.node_name;
    const work = async () => {
      if (await registry.get(name)) throw nodeAlreadyExists(name);
      const record: NodeRecord = {
        ...(await this.#check(draftOfAddition(request), narrate, signal)),
        name,
        ownedHive: undefined,
      };
      signal.throwIfAborted();
      await registry.add(record);
      await onChange(name, record);
      return tellSaved(record, narrate);
    };
    return this.#turns.take(name, work, signal);
  }

  /** Looks at a node as it would be after the change, and saves it. Throws NODE_NOT_FOUND and what `add` throws. */
  update(request: UpdateNode, narrate: Narrate, signal: AbortSignal): Promise<NodeAnswer> {
    const { registry, onChange } = this.#options;
    const name = request.node_name;
    const work = async () => {
      const known = await registry.require(name);
      const draft = draftOfChange(known, request);
      const checked = await this.#check(draft, narrate, signal);
      signal.throwIfAborted();
      // A hive on another machine or port is not the one that was started; what is not named here may have changed meanwhile.
      const elsewhere = draft.moved || draft.hivePort !== known.hivePort;
      const record = await registry.update(name, { ...checked, ...(elsewhere ? { ownedHive: undefined } : {}) });
      await onChange(name, record);
      return tellSaved(record, narrate);
    };
    return this.#turns.take(name, work, signal);
  }

  /** Stores what a node has, now that rbee is installed there and can tell; resolves with the new record. */
  async noteInstallation(record: NodeRecord, machine: Machine, nodePath: string): Promise<NodeRecord> {
    const { registry, timeouts, binaryPath } = this.#options;
    const limits = { timeoutMs: timeouts.ssh_command };
    const { name, installPath } = record;
    const launcher = await findLauncher(machine, { installPath, nodePath, binaryPath, ...limits });
    const found = launcher && (await detectCapabilities(machine, launcher, limits));
    return registry.update(name, { nodePath, ...found });
  }

  /** Throws NODE_NOT_FOUND. */
  remove(name: string): Promise<NodeAnswer> {
    const { registry, onChange } = this.#options;
    return this.#turns.take(name, async () => {
      if (name === LOCALHOST) throw alwaysThere();
      await registry.remove(name);
      await onChange(name, undefined);
      return { success: true, message: `node '${name}' is removed`, node_name: name };
    });
  }

  async #check(
    draft: NodeDraft,
    narrate: Narrate,
    signal: AbortSignal,
  ): Promise<Omit<NodeRecord, 'name' | 'ownedHive'>> {
    const { way, gitRepoUrl, gitBranch, hivePort } = draft;
    const findings = way.ssh
      ? await checkSshNode({ binaryPath: undefined, ...this.#options }, draft, way.ssh, narrate, signal)
      : await checkDirectNode(this.#options, draft, way.direct, narrate, signal);
    return {
      ...findings,
      ...way,
      gitRepoUrl,
      gitBranch,
      hivePort,
      status: 'reachable',
      lastConnectedUnix: Math.floor(this.#options.clock.now() / 1000),
      lastError: undefined,
    };
  }
}

function tellSaved(record: NodeRecord, narrate: Narrate): NodeAnswer {
  const { name } = record;
  const way = record.ssh ? 'SSH access works' : 'its hive answers';
  narrate({ actor: 'queen-rbee', action: 'node_save', target: name, human: `${way}; node '${name}' is saved` });
  return {
    success: true,
    message: `node '${name}' is saved`,
    node_name: name,
    host_key_fingerprint: ownFingerprint(record),
  };
}

function alwaysThere(): RbeeError {
  return new RbeeError('INVALID_REQUEST', 'localhost is the machine of the queen itself and always there', {
    details: { node: LOCALHOST },
    suggestion: 'see which nodes can be removed: rbee-keeper setup list-nodes',
  });
}
