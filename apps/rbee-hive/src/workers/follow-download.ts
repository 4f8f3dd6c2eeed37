import type { DownloadProgress, WorkerStartEvent } from '@rbee/protocol';
import type { Download } from '../downloads/download.js';
import type { Worker } from './worker.js';

/** Tells those who wait for a worker how its model comes. Resolves when the download has ended or the signal says so. */
export async function followDownload(worker: Worker, download: Download, signal: AbortSignal): Promise<void> {
  try {
    for await (const progress of download.follow(signal)) {
      const event = toStartEvent(worker, progress);
      if (event) worker.start.journal.append(event);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** How a download ended is told by what follows from it. */
function toStartEvent({ id, identity }: Worker, progress: DownloadProgress): WorkerStartEvent | undefined {
  switch (progress.stage) {
    case 'downloading':
      return { ...progress, type: 'progress', phase: 'download' };
    case 'waiting':
    case 'verifying':
      return { ...progress, type: 'progress', phase: 'download' };
    case 'retrying': {
      const { attempt, max_attempts, delay_ms, reason } = progress;
      const human = `${reason}: attempt ${attempt} of ${max_attempts} in ${delay_ms} ms`.slice(0, 100);
      const subject = { actor: 'model-provisioner', action: 'download_retry', target: identity.modelRef };
      return { type: 'narration', ...subject, human, level: 'warn', worker_id: id };
    }
    default:
      return undefined;
  }
}
