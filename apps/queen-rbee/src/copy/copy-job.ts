import type { Timeouts } from '@rbee/daemon-kit';
import type { CopyableFile } from '../models/choose-giver.js';
import type { NodeRecord } from '../registry/node-record.js';

/** How the hive of a node is reached from another process than the queen's: by its row of the registry, or at an address. */
export type CopyEndpoint =
  | { readonly node: string; readonly record: NodeRecord }
  | { readonly node: string; readonly url: string; readonly tokenFile: string | undefined };

/** One copy of a model from one hive to another; JSON, because it is the standard input of the process that does it. */
export interface CopyJob {
  readonly source: CopyEndpoint;
  readonly target: CopyEndpoint;
  /** Id of the model in the source's catalog. */
  readonly modelId: string;
  /** Id of the import at the target. */
  readonly downloadId: string;
  /** With the bytes that the target has of each already. */
  readonly files: readonly (CopyableFile & { readonly offset: number })[];
  readonly correlationId: string;
  readonly timeouts: Timeouts;
  /** Hive that stands for each node's while SSH is simulated. */
  readonly mockHive: { readonly url: string; readonly tokenFile: string | undefined } | undefined;
}

/** Does a copy; resolves when every byte has been taken. Throws the coded error of whichever side failed. */
export type RunCopy = (job: CopyJob, signal: AbortSignal) => Promise<void>;
