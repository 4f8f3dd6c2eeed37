import type { CellResult } from './cell.js';
import { FAULTS, LINKS, PHASES, PROCESSES } from './matrix.js';

/** The results as a table: a row for each process and fault, a column for each phase. */
export function renderTable(results: readonly CellResult[]): string {
  const lines = [`| process | fault | ${PHASES.join(' | ')} |`, `|---|---|${PHASES.map(() => '---').join('|')}|`];
  for (const process of PROCESSES) {
    for (const fault of FAULTS) {
      const row = results.filter((result) => result.process === process && result.fault === fault);
      if (row.length === 0) continue;
      const cells = PHASES.map((phase) => renderCell(row.find((result) => result.phase === phase)));
      lines.push(`| ${process} | ${fault === 'link' ? `link cut: ${LINKS[process]}` : fault} | ${cells.join(' | ')} |`);
    }
  }
  return lines.join('\n');
}

/** One line for the progress of a run. */
export function renderLine(result: CellResult): string {
  const { process, fault, phase, ok, notes } = result;
  const shown = notes.length === 0 ? '' : `: ${notes.join('; ').slice(0, 1200)}`;
  return `${ok ? 'ok  ' : 'RED '} ${process} ${fault} in ${phase}: ${renderCell(result)}${shown}`;
}

function renderCell(result: CellResult | undefined): string {
  if (!result) return '';
  const { outcome, ok, ms } = result;
  if (outcome === 'n/a') return 'n/a';
  const time = Number.isNaN(ms) ? '' : ` ${(ms / 1000).toFixed(1)} s`;
  return `${ok ? '' : '**RED** '}${outcome}${time}`;
}
