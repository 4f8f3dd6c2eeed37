import { join } from 'node:path';
import { LAUNCHD_LABEL, renderLaunchdAgent } from './launchd-agent.js';
import type { RunTool } from './run-tool.js';
import type { ServiceManager, ServicePlan } from './service.js';
import { ServiceFile } from './service-file.js';

export interface LaunchdOptions {
  readonly home: string;
  readonly uid: number;
  readonly run: RunTool;
}

/** An agent of the user's launchd session. */
export class LaunchdService implements ServiceManager {
  readonly #file: ServiceFile;
  readonly #options: LaunchdOptions;

  constructor(options: LaunchdOptions) {
    this.#options = options;
    this.#file = new ServiceFile(join(options.home, 'Library', 'LaunchAgents', `${LAUNCHD_LABEL}.plist`));
  }

  async install(plan: ServicePlan): Promise<string> {
    const before = this.#file.read();
    const agent = renderLaunchdAgent(plan);
    if (before !== undefined) await this.#unload();
    this.#file.write(agent);
    try {
      await this.#load();
    } catch (error) {
      if (before === undefined) {
        this.#file.remove();
      } else {
        this.#file.write(before);
        await this.#load().catch(() => undefined);
      }
      throw error;
    }
    return this.#file.path;
  }

  async remove(): Promise<boolean> {
    if (this.#file.read() === undefined) return false;
    await this.#unload();
    this.#file.remove();
    return true;
  }

  #load(): Promise<void> {
    return this.#options.run('launchctl', ['bootstrap', `gui/${this.#options.uid}`, this.#file.path]);
  }

  /** An agent that is described but not loaded is no failure. */
  async #unload(): Promise<void> {
    const { run, uid } = this.#options;
    await run('launchctl', ['bootout', `gui/${uid}/${LAUNCHD_LABEL}`]).catch(() => undefined);
  }
}
