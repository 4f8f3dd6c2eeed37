import { toPrintableLine } from '../printable-text.js';
import { renderTable } from '../table.js';
import type { SettingRow } from './read-configuration.js';

/** The settings as a table, with `origin` also where each is from; `file` is the configuration file in use. */
export function renderRows(
  rows: readonly SettingRow[],
  { origin, file }: { origin: boolean; file: string | undefined },
): string[] {
  const headings = ['key', 'value', ...(origin ? ['origin'] : [])];
  return renderTable(
    headings,
    rows.map((row) => [row.key, row.shown, ...(origin ? [describeOrigin(row, file)] : [])].map(toPrintableLine)),
  );
}

function describeOrigin({ origin, source, hides, readBy }: SettingRow, file: string | undefined): string {
  const from = source ?? origin;
  const over = hides === undefined ? '' : ` (hides ${hides} of ${file})`;
  return `${from}${over}${readBy.length === 0 && origin !== 'default' ? ' (has no effect in this version)' : ''}`;
}
