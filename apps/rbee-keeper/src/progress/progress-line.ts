import type { InstallEvent, ProgressEvent } from '@rbee/protocol';
import type { Palette } from '../palette.js';
import { partText, sizeText } from './size-text.js';

/** Long work that goes on: of a task, or the upload of an installation. */
export type AnyProgress = ProgressEvent | Extract<InstallEvent, { type: 'progress' }>;

/** A moment of long work, in words. */
export interface ProgressMoment {
  readonly actor: string;
  readonly doing: string;
  /** 0 to 1; `undefined` when the whole is not known. */
  readonly fraction: number | undefined;
  /** Figures beside the percentage; what matters least stands last. */
  readonly details: readonly string[];
}

const MOST_CELLS = 30;
const FEWEST_CELLS = 8;
/** Amount, speed and remaining time are never left out for a bar. */
const MAIN_DETAILS = 3;

/** What a progress event tells. */
export function describeProgress(event: AnyProgress): ProgressMoment {
  if (event.phase === 'upload') return describeUpload(event);
  return event.phase === 'download' ? describeDownload(event) : describeLoad(event);
}

function describeUpload(event: Extract<AnyProgress, { phase: 'upload' }>): ProgressMoment {
  const { bytes_done: done, bytes_total: total, bytes_per_second: rate } = event;
  const parts = [
    partText(done, total),
    ...(rate ? [`${sizeText(rate)}/s`, `${remaining((total - done) / rate)} left`] : []),
  ];
  return { actor: 'queen-rbee', doing: 'uploading', fraction: share(done, total), details: parts };
}

function describeDownload(event: ProgressEvent): ProgressMoment {
  const actor = 'model-provisioner';
  if (event.stage === 'waiting')
    return { actor, doing: 'waiting', fraction: undefined, details: [describeQueue(event)] };
  if (event.stage === 'verifying') return { actor, doing: 'verifying', fraction: undefined, details: [] };
  const { bytes_downloaded: done = 0, bytes_total: total, speed_mbps, eta_seconds, resumed_from, throttled } = event;
  const resumed = share(resumed_from, total);
  const parts = [
    total === undefined ? sizeText(done) : partText(done, total),
    ...(speed_mbps ? [`${toRate(speed_mbps)}${throttled ? ' throttled' : ''}`] : []),
    ...(eta_seconds === undefined ? [] : [`${remaining(eta_seconds)} left`]),
    ...(resumed ? [`resumed at ${toPercent(resumed)} %`] : []),
  ];
  const doing = event.source === 'node' ? 'copying' : 'downloading';
  return { actor, doing, fraction: share(done, total), details: parts };
}

function describeQueue({ position }: ProgressEvent): string {
  if (position === undefined) return 'other downloads come first';
  const inFront = position - 1;
  return inFront < 1 ? 'next in line' : `${inFront} ${inFront === 1 ? 'download' : 'downloads'} in front`;
}

function describeLoad(event: ProgressEvent): ProgressMoment {
  const { layers_loaded: done, layers_total: total, vram_mb } = event;
  const parts = [
    ...(done === undefined || total === undefined ? [] : [`layers ${done} of ${total}`]),
    ...(vram_mb ? [`${Math.round(vram_mb)} MB of device memory`] : []),
  ];
  return { actor: 'model-loader', doing: 'loading', fraction: share(done, total), details: parts };
}

/** One line for a log or a pipe, without the actor. */
export function renderProgressText({ doing, fraction, details }: ProgressMoment): string {
  const percent = fraction === undefined ? '' : ` ${toPercent(fraction)} %`;
  return `${doing}${percent}${details.length === 0 ? '' : ` (${details.join(', ')})`}`;
}

/**
 * One line for a terminal of the given width, with a bar where there is room for one; for its sake the actor and what
 * matters least are left out. It never reaches the last column, where a terminal would wrap.
 */
export function renderProgressBar(moment: ProgressMoment, columns: number, palette: Palette): string {
  const { actor, doing, fraction } = moment;
  if (fraction !== undefined) {
    const percent = `${String(toPercent(fraction)).padStart(3)} %`;
    for (const { before, detail } of layoutsOf(moment)) {
      const cells = Math.min(MOST_CELLS, columns - 1 - `${before}${doing}  ${percent} ${detail}`.length);
      if (cells < FEWEST_CELLS) continue;
      const filled = Math.round(fraction * cells);
      const bar = palette.cyan('█'.repeat(filled)) + palette.dim('░'.repeat(cells - filled));
      return `${palette.dim(before)}${doing} ${bar} ${percent} ${palette.dim(detail)}`.trimEnd();
    }
  }
  return `[${actor}] ${renderProgressText(moment)}`.slice(0, columns - 1);
}

/** What may stand around a bar, the fullest first. */
function layoutsOf({ actor, details }: ProgressMoment): { before: string; detail: string }[] {
  const shorter = details.map((_, dropped) => details.slice(0, details.length - dropped));
  const enough = shorter.filter(({ length }) => length >= Math.min(MAIN_DETAILS, details.length));
  const all = details.join(', ');
  return [{ before: `[${actor}] `, detail: all }, ...enough.map((kept) => ({ before: '', detail: kept.join(', ') }))];
}

/** Rounded down: 100 % is said only when nothing is left. */
function toPercent(fraction: number): number {
  return Math.floor(fraction * 100 + 1e-9);
}

function share(done: number | undefined, total: number | undefined): number | undefined {
  if (done === undefined || !total) return undefined;
  return Math.min(1, Math.max(0, done / total));
}

/** Megabits per second, as events have it, in megabytes. */
function toRate(megabits: number): string {
  return `${sizeText((megabits * 1e6) / 8)}/s`;
}

function remaining(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
