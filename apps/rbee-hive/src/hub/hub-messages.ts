import type { ErrorEnvelope } from '@rbee/protocol';
import type { FetchEvent, FetchJob, HubFile } from './hub.js';

/** First line to a hub client: what it has to do. Both sides are of one installation and trust each other. */
export interface HubClientJob {
  readonly endpoint: string;
  readonly token?: string | undefined;
  /** See `HubConnectionOptions`. */
  readonly silence_ms: number;
  readonly work: HubWork;
}

export type HubWork = { readonly list: { readonly repo: string } } | { readonly fetch: FetchJob };

/** Further lines to a hub client. `null` lifts the limit. */
export interface HubClientOrder {
  readonly limit: number | null;
}

/** Lines from a hub client; the last one is a result or an error. */
export type HubClientLine =
  | { readonly event: FetchEvent }
  | { readonly result: { readonly files?: HubFile[] } }
  | ErrorEnvelope;
