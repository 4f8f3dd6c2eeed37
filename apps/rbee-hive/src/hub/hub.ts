/** One model file of a hub repository. */
export interface HubFile {
  /** Path in the repository, with `/` between folders. */
  readonly path: string;
  readonly sizeBytes: number;
  /** SHA-256 that the hub gives, lower-case hexadecimal; it knows it of every large file. */
  readonly digest: string | undefined;
}

/** One attempt to get a file. */
export interface FetchJob {
  /** `org/repo`. */
  readonly repo: string;
  readonly file: HubFile;
  /** Where the file goes once it is complete and verified; what comes before lies beside it. */
  readonly target: string;
  /** Bytes per second, left out: as fast as it goes. It may change while the attempt runs. */
  readonly bytesPerSecond?: number | undefined;
}

export type FetchEvent =
  /** How many bytes are on disk: first those of earlier attempts, then at least four times a second. */
  | { readonly type: 'offset'; readonly offset: number }
  /** All bytes are there and are checked, or are written to the disk for good. */
  | { readonly type: 'verifying' };

export interface FetchOptions {
  readonly signal: AbortSignal;
  readonly onEvent: (event: FetchEvent) => void;
}

/** An attempt that runs. */
export interface Fetching {
  /**
   * Resolves when the file stands under its final name; rejects with the signal's reason, or with MODEL_NOT_FOUND,
   * MODEL_ACCESS_DENIED, DISK_FULL, CHECKSUM_MISMATCH or DOWNLOAD_FAILED. `retryable` tells whether another attempt may
   * succeed, `details.retry_after_ms` how long the hub asks to wait. What was received stays for the next attempt,
   * except after a wrong checksum and on a full disk.
   */
  readonly done: Promise<void>;
  /** Changes the limit of this attempt; `undefined` lifts it. */
  limit(bytesPerSecond: number | undefined): void;
}

/** The hub that models come from. */
export interface Hub {
  /** Address for messages, for example `https://huggingface.co`. */
  readonly endpoint: string;
  /** The GGUF files of a repository. Throws MODEL_NOT_FOUND, MODEL_ACCESS_DENIED, DOWNLOAD_FAILED or the signal's reason. */
  listFiles(repo: string, signal: AbortSignal): Promise<HubFile[]>;
  fetchFile(job: FetchJob, options: FetchOptions): Fetching;
}
