import { type Clock, callJson, httpTransport, type Logger, type Target, type Timeouts } from '@rbee/daemon-kit';
import { isRbeeError, workerRoutes } from '@rbee/protocol';
import type { LiveNode } from '../node/live-node.js';
import type { Nodes } from '../node/nodes.js';
import { type SilentWorker, StaleWatch } from './stale-watch.js';
import type { ReportedWorker, WorkerReports } from './worker-reports.js';

export interface WatchStaleOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly nodes: Nodes;
  readonly reports: WorkerReports;
  readonly jobsOf: (id: string) => number;
}

/** Watches the workers of all nodes and those that were reported. */
export function watchStale(options: WatchStaleOptions): StaleWatch {
  const { clock, log, timeouts, nodes, reports, jobsOf } = options;
  const silentSince = (moment: number): SilentWorker[] => [
    ...nodes.all().flatMap((node) => node.silentSince(moment).map((id) => onNode(node, id, timeouts))),
    ...reports.all
      .filter(({ seenAt }) => seenAt < moment)
      .map((reported) => onReport(reported, reports, clock, timeouts)),
  ];
  return new StaleWatch({ clock, log, timeouts, silentSince, jobsOf });
}

function onNode(node: LiveNode, id: string, timeouts: Timeouts): SilentWorker {
  return {
    id,
    ask: async () => {
      try {
        return await answers(await node.reachWorker(id, {}), timeouts);
      } catch (error) {
        // Its hive does not know it any more, or does not answer: nothing speaks for it.
        if (!isRbeeError(error)) throw error;
        return false;
      }
    },
    touch: () => {
      // It answers by itself, so it takes jobs; its hive's next event says more exactly.
      node.noteWorker(id, { state: node.worker(id)?.state === 'busy' ? 'busy' : 'idle', slots_available: undefined });
    },
    keepBusy: () => node.markStale(id),
    forget: () => node.forgetWorker(id),
  };
}

function onReport(reported: ReportedWorker, reports: WorkerReports, clock: Clock, timeouts: Timeouts): SilentWorker {
  const { worker_id: id, url } = reported.worker;
  return {
    id,
    ask: async () => {
      // Without a key: a worker that demands one shows by that alone that it lives.
      const transport = httpTransport({ name: id, url, connectTimeoutMs: timeouts.connect });
      try {
        return await answers({ transport, clock }, timeouts);
      } finally {
        transport.close();
      }
    },
    touch: () => reports.touch(id),
    // No job of this queen runs there.
    keepBusy: () => undefined,
    forget: () => reports.removeIfSilent(reported),
  };
}

async function answers(target: Target, timeouts: Pick<Timeouts, 'health_call'>): Promise<boolean> {
  try {
    await callJson(target, workerRoutes.ready, { timeoutMs: timeouts.health_call });
    return true;
  } catch (error) {
    if (!isRbeeError(error)) throw error;
    return error.code === 'MISSING_API_KEY' || error.code === 'INVALID_API_KEY';
  }
}
