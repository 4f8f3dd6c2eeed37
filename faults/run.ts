/**
 * Faults of every process in every phase of a task, on real processes, and whether the user had the answer anyway. Prints a
 * table and exits with 1 when a cell is not as expected. `--process`, `--fault`, `--phase` choose cells, `--list` names them with what
 * is expected, `--jobs` says how many run at once, `--json FILE` keeps the results, `--keep` the folders of red cells.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { answerUndisturbed, type CellResult, runCell } from './cell.js';
import { crowd } from './crowd.js';
import type { Figures } from './figures.js';
import { kills } from './kills.js';
import { allCells, expectationOf } from './matrix.js';
import { startHub } from './model.js';
import { queenKill } from './queen-kill.js';
import { seconds } from './seconds.js';
import { endOnSignal } from './site.js';
import { renderLine, renderTable } from './table.js';

endOnSignal();

const PARTS = { kills, 'queen-kill': queenKill, crowd } as const;

const { values } = parseArgs({
  options: {
    process: { type: 'string', multiple: true },
    fault: { type: 'string', multiple: true },
    phase: { type: 'string', multiple: true },
    only: { type: 'string' },
    list: { type: 'boolean' },
    jobs: { type: 'string', default: '2' },
    json: { type: 'string' },
    keep: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    kills: { type: 'string', default: '50' },
  },
});

const chosen = allCells().filter(
  ({ process, fault, phase }) =>
    (values.process?.includes(process) ?? true) &&
    (values.fault?.includes(fault) ?? true) &&
    (values.phase?.includes(phase) ?? true),
);

if (values.list) {
  for (const cell of chosen) {
    const { outcomes, why } = expectationOf(cell);
    console.log(`${cell.process} ${cell.fault} in ${cell.phase}: ${outcomes.join(' or ')} (${why})`);
  }
} else {
  const began = performance.now();
  const isPart = values.only !== undefined && values.only !== 'cells';
  const isFiltered = Boolean(values.process ?? values.fault ?? values.phase) || values.only === 'cells';
  const results = isPart ? [] : await runCells();
  const figures: Figures[] = [];
  for (const [name, run] of Object.entries(PARTS)) {
    if (isPart ? values.only !== name : isFiltered) continue;
    figures.push(await run({ seed: Number(values.seed), kills: Number(values.kills) }));
    console.log(renderFigures(figures.at(-1)));
  }
  if (results.length > 0) console.log(`\n${renderTable(results)}\n`);
  for (const result of results) if (!result.ok) console.log(renderLine(result));
  for (const each of figures) console.log(renderFigures(each));
  const red = results.filter(({ ok }) => !ok).length + figures.filter(({ ok }) => !ok).length;
  console.log(
    `${results.length} cells and ${figures.length} further runs in ${seconds(performance.now() - began)}, ${red} red`,
  );
  if (values.json) writeFileSync(values.json, `${JSON.stringify({ results, figures }, null, 1)}\n`);
  if (red > 0) process.exitCode = 1;
}

/** Runs the chosen cells, some at once. */
async function runCells(): Promise<CellResult[]> {
  // Two sites would hold each other's downloads back if they had one hub.
  const waiting = [...chosen];
  const results: CellResult[] = [];
  const lanes = Array.from({ length: Math.min(Number(values.jobs), chosen.length) }, async () => {
    const { hub, folder } = await startHub();
    try {
      const answers = await answerUndisturbed(hub);
      for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
        const result = await runCell(cell, hub, answers, values.keep);
        results.push(result);
        console.log(`${results.length}/${chosen.length} ${renderLine(result)}`);
      }
    } finally {
      await hub.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
  await Promise.all(lanes);
  return results;
}

function renderFigures(figures: Figures | undefined): string {
  if (!figures) return '';
  const facts = Object.entries(figures.facts).map(([name, value]) => `${name} ${value}`);
  return `${figures.ok ? 'ok  ' : 'RED '} ${figures.name}: ${[...facts, ...figures.problems].join(', ')}`;
}
