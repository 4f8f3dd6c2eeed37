import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DEFAULT_TIMEOUTS, type Spoken, silentLogger, type Timeouts } from '@rbee/daemon-kit';
import { ManualClock } from '@rbee/daemon-kit/testing';
import { type DownloadProgress, findModel, formatModelRef, type Model, RbeeError } from '@rbee/protocol';
import type { CompleteModel } from '../../catalog/hub-models.js';
import type { HubRef } from '../../hub/choose-variant.js';
import type { Download } from '../download.js';
import { type DownloadEnd, Downloads, type DownloadsOptions } from '../downloads.js';
import { digestOf, ScriptedHub } from './scripted-hub.js';

/** Downloads of a hive with a hub and a catalog made for tests, on a clock that moves when nothing else does. */
export class DownloadStage {
  readonly hub = new ScriptedHub();
  readonly clock = new ManualClock();
  readonly models: Model[] = [];
  readonly said: Spoken[] = [];
  readonly ends: DownloadEnd[] = [];
  freeBytes = 2 ** 40;
  /** Thrown instead of registering the next model. */
  registerError: RbeeError | undefined;
  downloads: Downloads;

  constructor(
    readonly modelsDir: string,
    private readonly settings: Partial<DownloadsOptions> & { timeouts?: Timeouts } = {},
  ) {
    this.downloads = this.start();
  }

  /** A hive that begins with what an earlier one has left. */
  start(): Downloads {
    const options: DownloadsOptions = {
      ...{ hub: this.hub, clock: this.clock, log: silentLogger, timeouts: DEFAULT_TIMEOUTS, modelsDir: this.modelsDir },
      ...{ variables: { RBEE_NO_JITTER: '1' }, maxActive: 2, bytesPerSecond: undefined },
      freeBytes: async () => this.freeBytes,
      find: async (ref) => findModel(this.models, ref),
      register: async (complete) => this.register(complete),
      narrate: (spoken) => this.said.push(spoken),
      onEnd: (end) => this.ends.push(end),
    };
    // Copied as they are: a test may change what a getter gives.
    const settings = Object.getOwnPropertyDescriptors(this.settings);
    this.downloads = new Downloads(Object.defineProperties(options, settings));
    return this.downloads;
  }

  async request(ref: HubRef): Promise<{ download: Download; release: () => void }> {
    const requested = await this.downloads.request(ref);
    if ('model' in requested) throw new Error('the model is there');
    return requested;
  }

  /** All events that a follower who begins now gets. */
  follow(download: Download): Promise<DownloadProgress[]> {
    return (async () => {
      const events: DownloadProgress[] = [];
      for await (const event of download.follow(new AbortController().signal)) events.push(event);
      return events;
    })();
  }

  /** Moves the clock while nothing is being sent, until the promise has settled. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    promise.then(
      () => (settled = true),
      () => (settled = true),
    );
    while (!settled) await this.passTime(15_000);
    return promise;
  }

  /** Moves the clock until an attempt stalls. */
  async untilStalling(): Promise<void> {
    while (this.hub.stalling === 0) await this.passTime(100);
  }

  /** Files take real time, in which the clock must stand still: no attempt would live long enough. */
  private async passTime(ms: number): Promise<void> {
    if (this.hub.sending > 0) await new Promise((resolve) => setImmediate(resolve));
    else await this.clock.advance(ms);
  }

  /** Names of what lies in the folder of a model. */
  files(ref: HubRef): string[] {
    const folder = this.folder(ref);
    return existsSync(folder) ? readdirSync(folder).sort() : [];
  }

  folder({ reference, variant = '' }: HubRef): string {
    return join(this.modelsDir, 'hf', reference, variant.replaceAll('/', '--'));
  }

  private register({ reference, variant, path, files }: CompleteModel): Model {
    if (this.registerError) throw this.registerError;
    for (const { name, size_bytes, digest } of files) {
      const bytes = readFileSync(join(dirname(path), name));
      if (bytes.length !== size_bytes || digestOf(bytes) !== digest)
        throw new RbeeError('INTERNAL_ERROR', 'unverified');
    }
    const model: Model = {
      ...{ id: `${reference}-${variant}`, provider: 'hf', reference, variant, local_path: path, downloaded_at_unix: 0 },
      model_ref: formatModelRef({ provider: 'hf', reference, variant }),
      size_bytes: files.reduce((sum, { size_bytes }) => sum + size_bytes, 0),
      files: [...files],
    };
    this.models.push(model);
    return model;
  }
}
