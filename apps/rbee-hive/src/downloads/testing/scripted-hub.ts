import { createHash } from 'node:crypto';
import { truncate, writeFile } from 'node:fs/promises';
import { RbeeError } from '@rbee/protocol';
import type { Fetching, FetchJob, FetchOptions, Hub, HubFile } from '../../hub/hub.js';
import { PartialFile, partialPathOf } from '../../transfer/partial-file.js';

/** What goes wrong in one attempt; bytes are those that it has sent. */
export interface ScriptedFault {
  /** Breaks off after so many bytes. */
  readonly cutAfter?: number;
  /** Sends nothing more after so many bytes. */
  readonly stallAfter?: number;
  /** Its process is killed after so many bytes: what it had not written yet is lost, and its lock stays. */
  readonly killAfter?: number;
  /** Turns over the bits of this byte of the file, when it is sent. */
  readonly corruptAt?: number;
  /** Sends the file from its beginning. */
  readonly ignoreRange?: boolean;
  /** Sends so many bytes more than the file has. */
  readonly extraBytes?: number;
  /** Never ends when everything has come. */
  readonly hangAtEnd?: boolean;
  readonly error?: RbeeError;
  /** Called after so many bytes, which are on disk by then. */
  readonly meanwhile?: { readonly after: number; readonly call: () => void };
}

const PIECE_BYTES = 4096;

/** A hub in this process with real partial files; nothing of it takes time by the clock. */
export class ScriptedHub implements Hub {
  readonly endpoint = 'https://hub.test';
  /** By repository and path. */
  readonly repos = new Map<string, Map<string, Buffer>>();
  /** Faults of the coming attempts, of all files. */
  readonly faults: ScriptedFault[] = [];
  readonly listingErrors: RbeeError[] = [];
  /** Files that the listing gives no digest of. */
  readonly withoutDigest = new Set<string>();
  readonly fetched: { path: string; offset: number; bytesPerSecond: number | undefined }[] = [];
  readonly limits: (number | undefined)[] = [];
  listings = 0;
  /** Attempts that are sending: not those that stall. */
  sending = 0;
  stalling = 0;
  /** When set, attempts begin only after it has resolved. */
  gate: Promise<void> | undefined;

  add(repo: string, files: Readonly<Record<string, Buffer>>): void {
    this.repos.set(repo, new Map(Object.entries(files)));
  }

  async listFiles(repo: string): Promise<HubFile[]> {
    this.listings++;
    // Callers of the same moment must find it still going on.
    await new Promise((resolve) => setImmediate(resolve));
    const error = this.listingErrors.shift();
    if (error) throw error;
    const files = this.repos.get(repo);
    if (!files) throw new RbeeError('MODEL_NOT_FOUND', `there is no model hf:${repo}`);
    return [...files].map(([path, bytes]) => ({
      path,
      sizeBytes: bytes.length,
      digest: this.withoutDigest.has(path) ? undefined : digestOf(bytes),
    }));
  }

  fetchFile(job: FetchJob, options: FetchOptions): Fetching {
    return { done: this.fetch(job, options), limit: (bytesPerSecond) => this.limits.push(bytesPerSecond) };
  }

  private async fetch(job: FetchJob, { signal, onEvent }: FetchOptions): Promise<void> {
    const { file, target, repo, bytesPerSecond } = job;
    this.sending++;
    let partial: PartialFile | undefined;
    try {
      await this.gate;
      partial = await PartialFile.open(target, file, signal);
      this.fetched.push({ path: file.path, offset: partial.offset, bytesPerSecond });
      onEvent({ type: 'offset', offset: partial.offset });
      const fault = this.faults.shift() ?? {};
      if (fault.error) throw fault.error;
      if (fault.ignoreRange) {
        await partial.restart();
        onEvent({ type: 'offset', offset: 0 });
      }
      await this.send(partial, this.bytesFor(repo, file.path, fault), fault, { signal, onEvent });
      onEvent({ type: 'verifying' });
      if (fault.hangAtEnd) await this.stall(signal);
      await partial.commit();
    } catch (error) {
      await partial?.suspend();
      if (error === KILLED) await leaveAsKilled(target, file, partial?.offset ?? 0);
      throw error === KILLED ? brokenError('its process was killed') : error;
    } finally {
      this.sending--;
    }
  }

  private bytesFor(repo: string, path: string, { corruptAt, extraBytes = 0 }: ScriptedFault): Buffer {
    const bytes = Buffer.concat([this.repos.get(repo)?.get(path) ?? Buffer.alloc(0), Buffer.alloc(extraBytes)]);
    if (corruptAt !== undefined && corruptAt < bytes.length) bytes[corruptAt] = ~(bytes[corruptAt] ?? 0);
    return bytes;
  }

  private async send(partial: PartialFile, bytes: Buffer, fault: ScriptedFault, { signal, onEvent }: FetchOptions) {
    const start = partial.offset;
    const stops = [fault.cutAfter, fault.stallAfter, fault.killAfter, fault.meanwhile?.after].filter(
      (n) => n !== undefined,
    );
    const ends = [...stops.map((after) => start + after), bytes.length].sort((a, b) => a - b);
    for (let sent = 0; ; ) {
      signal.throwIfAborted();
      if (fault.meanwhile && sent === fault.meanwhile.after) {
        fault.meanwhile.call();
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
      if (sent === fault.cutAfter) throw brokenError('the connection broke', 'ECONNRESET');
      if (sent === fault.killAfter) throw KILLED;
      if (sent === fault.stallAfter) await this.stall(signal);
      if (start + sent >= bytes.length) return;
      const next = ends.find((end) => end > start + sent) ?? bytes.length;
      const piece = bytes.subarray(start + sent, Math.min(start + sent + PIECE_BYTES, next));
      await partial.write(piece);
      sent += piece.length;
      onEvent({ type: 'offset', offset: partial.offset });
    }
  }

  /** Until the attempt is ended from outside. */
  private stall(signal: AbortSignal): Promise<never> {
    this.sending--;
    this.stalling++;
    return new Promise((_resolve, reject) => {
      const end = () => {
        this.sending++;
        this.stalling--;
        reject(signal.reason as Error);
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });
  }
}

const KILLED = new Error('killed');

/** What a process that had no time to end well leaves: an older state of the file, and a lock that nobody holds. */
async function leaveAsKilled(target: string, file: HubFile, offset: number): Promise<void> {
  const path = partialPathOf(target, file);
  await truncate(path, Math.floor(offset / 2));
  await writeFile(`${path}.999999999-${Buffer.from('1').toString('base64url')}-0123abcd.lock`, '');
}

export function brokenError(reason: string, cause?: string): RbeeError {
  const details = { reason, ...(cause === undefined ? {} : { cause }) };
  return new RbeeError('DOWNLOAD_FAILED', `the file did not come: ${reason}`, { details });
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
