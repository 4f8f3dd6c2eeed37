import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { type Clock, orAborted, type SignalSource } from '@rbee/daemon-kit/client';
import { isRbeeError, toErrorEnvelope, toRbeeError } from '@rbee/protocol';
import type { Fetching } from './hub.js';
import { HubHttp } from './hub-http.js';
import type { HubClientJob, HubClientLine, HubClientOrder } from './hub-messages.js';

export interface HubClientEnvironment {
  readonly stdin: Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly signals: SignalSource;
  readonly clock: Clock;
}

/**
 * Does one job for a hive, told by lines of JSON: see hub-messages.ts. Ends early, with what was received kept, when its
 * standard input ends, because then the hive is gone, and on SIGTERM.
 */
export async function runHubClient({ stdin, stdout, stderr, signals, clock }: HubClientEnvironment): Promise<void> {
  const stop = new AbortController();
  const abort = () => stop.abort(new Error('the hive does not want it any more'));
  signals.on('SIGTERM', abort);
  // Nobody reads any more: the end of the input tells the same.
  stdout.on('error', abort);
  const tell = (line: HubClientLine) => stdout.write(`${JSON.stringify(line)}\n`);

  const lines = createInterface({ input: stdin });
  lines.on('close', abort);
  let fetching: Fetching | undefined;
  let order: HubClientOrder | undefined;
  const job = new Promise<HubClientJob>((resolve) => {
    lines.once('line', (first) => {
      resolve(JSON.parse(first));
      lines.on('line', (further) => {
        order = JSON.parse(further) as HubClientOrder;
        fetching?.limit(order.limit ?? undefined);
      });
    });
  });
  let hub: HubHttp | undefined;
  try {
    const { endpoint, token, silence_ms: silenceMs, work } = await orAborted(job, stop.signal);
    hub = new HubHttp({ endpoint, token, silenceMs, clock });
    if ('list' in work) {
      tell({ result: { files: await hub.listFiles(work.list.repo, stop.signal) } });
      return;
    }
    fetching = hub.fetchFile(work.fetch, { signal: stop.signal, onEvent: (event) => tell({ event }) });
    if (order) fetching.limit(order.limit ?? undefined);
    await fetching.done;
    tell({ result: {} });
  } catch (error) {
    if (stop.signal.aborted) return;
    if (!isRbeeError(error)) stderr.write(`${(error as Error).stack}\n`);
    tell(toErrorEnvelope(toRbeeError(error), ''));
  } finally {
    await hub?.close();
    lines.close();
  }
}
