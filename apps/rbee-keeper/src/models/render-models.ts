import type { DownloadProgress, NodeModel, NodeModels } from '@rbee/protocol';
import { toLocalTime } from '../local-time.js';
import { toPrintableLine } from '../printable-text.js';
import { sizeText } from '../progress/size-text.js';
import { renderTable } from '../table.js';

const HEADINGS = ['model', 'size', 'quantization', 'node', 'last used', 'state'];

/** A table of the models of all nodes, and of the downloads that run. */
export function renderModels({ models, downloads }: Pick<NodeModels, 'models' | 'downloads'>): string[] {
  const rows = [
    ...models.map(toRow),
    ...downloads.map(({ model_ref, node, source, progress }) => [
      model_ref,
      progress?.stage === 'downloading' ? sizeText(progress.bytes_total) : '-',
      '-',
      node,
      '-',
      describeStage(progress, source === 'node' ? 'copying' : 'downloading'),
    ]),
  ];
  return renderTable(HEADINGS, rows).map(toPrintableLine);
}

function toRow({ model_ref, size_bytes, facts, variant, node, last_used_unix }: NodeModel): string[] {
  return [
    model_ref,
    sizeText(size_bytes),
    facts?.quantization ?? variant ?? '-',
    node,
    lastUsed(last_used_unix),
    'ready',
  ];
}

/** When a model was last used, in the time of this machine. */
export function lastUsed(unixSeconds: number | undefined): string {
  return unixSeconds === undefined ? 'never' : toLocalTime(unixSeconds);
}

function describeStage(progress: DownloadProgress | undefined, doing: string): string {
  switch (progress?.stage) {
    case 'downloading': {
      const { bytes_downloaded: done, bytes_total: total } = progress;
      return total > 0 ? `${doing} ${Math.floor((done / total) * 100 + 1e-9)} %` : doing;
    }
    case 'retrying':
      return `${doing}, attempt ${progress.attempt} of ${progress.max_attempts}`;
    case 'waiting':
      return `waiting, place ${progress.position}`;
    case 'verifying':
      return 'verifying';
    default:
      return doing;
  }
}
