import { fetchHubFile } from './fetch-hub-file.js';
import type { Fetching, FetchJob, FetchOptions, Hub, HubFile } from './hub.js';
import { HubConnection, type HubConnectionOptions } from './hub-connection.js';
import { downloadFailed } from './hub-errors.js';
import { listHubFiles } from './list-hub-files.js';
import { RateLimit } from './rate-limit.js';

/** The hub over HTTP, in this process. The hive uses it through a process of its own: see `HubProcess`. */
export class HubHttp implements Hub {
  private readonly connection: HubConnection;

  constructor(private readonly options: HubConnectionOptions) {
    this.connection = new HubConnection(options);
  }

  get endpoint(): string {
    return this.options.endpoint;
  }

  /** All pages together may take as long as the hub may be silent. */
  async listFiles(repo: string, signal: AbortSignal): Promise<HubFile[]> {
    const { clock, silenceMs } = this.options;
    const deadline = new AbortController();
    const reason = 'no complete answer in time';
    const cancel = clock.after(silenceMs, () => {
      deadline.abort(downloadFailed(this.connection.subject(repo), reason, { reason, timeout_ms: silenceMs }));
    });
    try {
      return await listHubFiles(this.connection, repo, AbortSignal.any([signal, deadline.signal]));
    } finally {
      cancel();
    }
  }

  fetchFile(job: FetchJob, options: FetchOptions): Fetching {
    const limit = new RateLimit(this.options.clock, job.bytesPerSecond);
    const done = fetchHubFile(job, { ...options, limit, connection: this.connection, clock: this.options.clock });
    return { done, limit: (bytesPerSecond) => limit.set(bytesPerSecond) };
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.connection.close();
  }
}
