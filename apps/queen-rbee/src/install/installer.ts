import { join } from 'node:path';
import { type Clock, formatDuration, type Narrate, type Timeouts } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { inspectMachine } from '../machine/inspect-machine.js';
import type { Machine } from '../machine/machine.js';
import { nodeMissing } from '../machine/node-missing.js';
import type { NodeRecord } from '../registry/node-record.js';
import { buildFromGit } from './build-from-git.js';
import { InstallLock } from './install-lock.js';
import { Steps } from './install-step.js';
import { installService } from './node-release.js';
import { type Platform, thisPlatform } from './platform.js';
import { pushRelease, type UploadProgress } from './push-release.js';
import { ReleaseArchives } from './release-archives.js';

export interface InstallerOptions {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** Folder of the rbee that this queen belongs to: a checkout that was built, or an installed release. */
  readonly root: string;
  /** State folder of the user; archives of releases are kept in `cache` below it. */
  readonly stateFolder: string;
  /** Repository on the nodes that is used for fetching; default: `source` in the install path. */
  readonly gitRepoDir?: string | undefined;
  /** What the packages of this rbee were built for. Default: the platform of this process. */
  readonly platform?: Platform;
}

export interface InstallRequest {
  /** Also let the node's service manager start the hive with the machine. */
  readonly service: boolean;
  readonly narrate: Narrate;
  readonly progress: (progress: UploadProgress) => void;
  readonly signal: AbortSignal;
}

export interface Installation {
  /** Name of the release that the node uses from now on. */
  readonly release: string;
  /** Whether the node used that release already. */
  readonly unchanged: boolean;
  /** Absolute path of the Node.js that it was installed with. */
  readonly nodePath: string;
}

/** Installs rbee on nodes: the queen's own release, or what a node builds from a repository. */
export class Installer {
  readonly #options: InstallerOptions;
  readonly #archives: ReleaseArchives;
  readonly #running = new Set<string>();

  constructor(options: InstallerOptions) {
    this.#options = options;
    this.#archives = new ReleaseArchives(join(options.stateFolder, 'cache'), options.clock);
  }

  /**
   * Installs rbee on a node, whose release before stays in use until the new one has passed its self-test there.
   * Throws INSTALL_FAILED with `step` and `last_output` in its details, the errors of the connection, or the signal's
   * reason; in each case nothing of the new release is left.
   */
  async install(record: NodeRecord, machine: Machine, request: InstallRequest): Promise<Installation> {
    const { name } = record;
    if (this.#running.has(name)) {
      throw new RbeeError('INSTALL_FAILED', `rbee is being installed on ${name} already`, {
        details: { node: name, step: 'lock', last_output: [] },
        suggestion: 'wait until it is done, then try again',
        retryable: true,
      });
    }
    this.#running.add(name);
    try {
      return await this.#install(record, machine, request);
    } finally {
      this.#running.delete(name);
    }
  }

  async #install(record: NodeRecord, machine: Machine, request: InstallRequest): Promise<Installation> {
    const { clock, timeouts, root, gitRepoDir, platform: queen = thisPlatform() } = this.#options;
    const { name: node, installPath } = record;
    const { narrate, progress, signal } = request;
    const startedAt = clock.monotonic();
    const facts = await inspectMachine(machine, { nodePath: record.nodePath, timeoutMs: timeouts.ssh_command, signal });
    if (facts.node === undefined) throw nodeMissing('INSTALL_FAILED', node, facts);
    const { os, arch, libc } = facts;
    const { path: nodePath, abi } = facts.node;
    const platform = { os, arch, libc, abi };
    const place = { installPath, nodePath };
    const lock = await InstallLock.take({ node, machine, clock, installPath, signal });
    try {
      const steps = new Steps({ node, machine, clock, timeoutMs: timeouts.install_step, signal });
      const way = { node, place, platform, narrate };
      const result =
        record.gitRepoUrl === undefined
          ? await pushRelease(steps, { ...way, queen, root, archives: this.#archives, clock, progress })
          : await buildFromGit(steps, {
              ...way,
              url: record.gitRepoUrl,
              branch: record.gitBranch,
              repository: gitRepoDir,
            });
      if (request.service) {
        await installService(steps, place, record.hivePort);
        narrate({
          actor: 'queen-rbee',
          action: 'install_done',
          target: node,
          human: `the hive of ${node} now starts with the machine, on port ${record.hivePort}`,
        });
      }
      const duration_ms = Math.round(clock.monotonic() - startedAt);
      const human = result.unchanged
        ? `${node} already uses release ${result.release}`
        : `${node} uses release ${result.release} now (${formatDuration(duration_ms)})`;
      narrate({ actor: 'queen-rbee', action: 'install_done', target: node, human, duration_ms });
      return { ...result, nodePath };
    } finally {
      await lock.release();
    }
  }
}
