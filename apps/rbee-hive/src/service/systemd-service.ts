import { join } from 'node:path';
import type { RunTool } from './run-tool.js';
import type { ServiceManager, ServicePlan } from './service.js';
import { ServiceFile } from './service-file.js';
import { renderSystemdUnit } from './systemd-unit.js';

const UNIT = 'rbee-hive.service';

export interface SystemdOptions {
  readonly home: string;
  readonly user: string;
  readonly run: RunTool;
}

/** A unit of the user's own systemd manager, which lingering keeps running without anybody being logged in. */
export class SystemdService implements ServiceManager {
  readonly #file: ServiceFile;
  readonly #options: SystemdOptions;

  constructor(options: SystemdOptions) {
    this.#options = options;
    this.#file = new ServiceFile(join(options.home, '.config', 'systemd', 'user', UNIT));
  }

  async install(plan: ServicePlan): Promise<string> {
    const { run, user } = this.#options;
    // First of all: over SSH it is what starts the user's manager, and without it nothing would start with the machine.
    await run('loginctl', ['enable-linger', user]);
    const before = this.#file.read();
    const unit = renderSystemdUnit(plan);
    this.#file.write(unit);
    try {
      await run('systemctl', ['--user', 'daemon-reload']);
      await run('systemctl', ['--user', 'enable', '--now', UNIT]);
      if (before !== undefined && before !== unit) await run('systemctl', ['--user', 'restart', UNIT]);
    } catch (error) {
      await this.#restore(before);
      throw error;
    }
    return this.#file.path;
  }

  async remove(): Promise<boolean> {
    const { run } = this.#options;
    if (this.#file.read() === undefined) return false;
    await run('systemctl', ['--user', 'disable', '--now', UNIT]);
    this.#file.remove();
    await run('systemctl', ['--user', 'daemon-reload']);
    return true;
  }

  /** What was there before is there again, and runs; how far the failed installation came is not known. */
  async #restore(before: string | undefined): Promise<void> {
    const attempt = (...args: string[]) => this.#options.run('systemctl', ['--user', ...args]).catch(() => undefined);
    if (before === undefined) {
      await attempt('disable', '--now', UNIT);
      this.#file.remove();
      await attempt('daemon-reload');
    } else {
      this.#file.write(before);
      await attempt('daemon-reload');
      await attempt('start', UNIT);
    }
  }
}
