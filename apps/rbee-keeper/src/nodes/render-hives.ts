import type { HiveStatus } from '@rbee/protocol';
import { toPrintableLine } from '../printable-text.js';
import { renderTable } from '../table.js';
import { memoryText } from './memory-text.js';

/** Why nothing is known of a node that the queen has just begun to look for. */
export const NOT_ANSWERED = 'it has not answered yet';
const HEADINGS = ['node', 'link', 'status', 'hive', 'version', 'workers', 'free memory'];

/** A table of hives; what is long or only some nodes have (why it does not run, GPUs) stands below the node's row. */
export function renderHives(hives: readonly HiveStatus[]): string[] {
  const [headings = '', ...rows] = renderTable(HEADINGS, hives.map(toRow));
  return [headings, ...hives.flatMap((hive, index) => [rows[index] ?? '', ...toRemarks(hive)])].map(toPrintableLine);
}

function toRow(hive: HiveStatus): string[] {
  const isRunning = hive.hive === 'running';
  return [
    hive.node,
    hive.link,
    hive.status,
    hive.hive,
    hive.version ?? '-',
    isRunning ? String(hive.workers) : '-',
    memoryText(hive.ram_available_mb, hive.ram_total_mb) ?? '-',
  ];
}

function toRemarks({ status, gpus, warnings = [], ...hive }: HiveStatus): string[] {
  const reason = hive.reason ?? (status === 'unknown' ? NOT_ANSWERED : undefined);
  return [
    ...(reason === undefined ? [] : [`  ${reason}`]),
    ...warnings.map((warning) => `  ${warning}`),
    ...gpus.map(
      ({ backend = 'gpu', index, name, vram_free_mb, vram_total_mb }) =>
        `  ${backend}:${index} ${name}, ${memoryText(vram_free_mb, vram_total_mb)} free`,
    ),
  ];
}
