import type { InstallEvent, ProgressEvent } from '@rbee/protocol';
import type { Palette } from '../palette.js';

/** Long work that goes on: of a task, or the upload of an installation. */
export type AnyProgress = ProgressEvent | Extract<InstallEvent, { type: 'progress' }>;

/** A moment of long work, in words. */
export interface ProgressMoment {
  readonly actor: string;
  readonly doing: string;
  /** 0 to 1; `undefined` when the whole is not known. */
  readonly fraction: number | undefined;
  /** Figures beside the percentage. */
  readonly detail: string;
}

const MIB = 2 ** 20;
const MOST_CELLS = 30;
const FEWEST_CELLS = 8;

/** What a progress event tells. */
export function describeProgress(event: AnyProgress): ProgressMoment {
  if (event.phase === 'upload') return describeUpload(event);
  return event.phase === 'download' ? describeDownload(event) : describeLoad(event);
}

function describeUpload(event: Extract<AnyProgress, { phase: 'upload' }>): ProgressMoment {
  const { bytes_done: done, bytes_total: total, bytes_per_second: rate } = event;
  const parts = [
    `${megabytes(done)} of ${megabytes(total)} MB`,
    ...(rate ? [`${megabytes(rate)} MB/s`, `${remaining((total - done) / rate)} left`] : []),
  ];
  return { actor: 'queen-rbee', doing: 'uploading', fraction: share(done, total), detail: parts.join(', ') };
}

function describeDownload(event: ProgressEvent): ProgressMoment {
  const { bytes_downloaded: done = 0, bytes_total: total, speed_mbps, eta_seconds } = event;
  const amount = total === undefined ? `${megabytes(done)} MB` : `${megabytes(done)} of ${megabytes(total)} MB`;
  const parts = [
    amount,
    ...(speed_mbps === undefined ? [] : [`${(speed_mbps / 8).toFixed(1)} MB/s`]),
    ...(eta_seconds === undefined ? [] : [`${remaining(eta_seconds)} left`]),
  ];
  return { actor: 'model-provisioner', doing: 'downloading', fraction: share(done, total), detail: parts.join(', ') };
}

function describeLoad(event: ProgressEvent): ProgressMoment {
  const { layers_loaded: done, layers_total: total, vram_mb } = event;
  const parts = [
    ...(done === undefined || total === undefined ? [] : [`layers ${done} of ${total}`]),
    ...(vram_mb ? [`${Math.round(vram_mb)} MB of device memory`] : []),
  ];
  return { actor: 'model-loader', doing: 'loading', fraction: share(done, total), detail: parts.join(', ') };
}

/** One line for a log or a pipe, without the actor. */
export function renderProgressText({ doing, fraction, detail }: ProgressMoment): string {
  const percent = fraction === undefined ? '' : ` ${toPercent(fraction)} %`;
  return `${doing}${percent}${detail === '' ? '' : ` (${detail})`}`;
}

/**
 * One line for a terminal of the given width, with a bar where there is room for one. It never reaches the last column,
 * where a terminal would wrap.
 */
export function renderProgressBar(moment: ProgressMoment, columns: number, palette: Palette): string {
  const { actor, doing, fraction = 0, detail } = moment;
  const percent = `${String(toPercent(fraction)).padStart(3)} %`;
  const rest = `[${actor}] ${doing}  ${percent} ${detail}`.length;
  const cells = Math.min(MOST_CELLS, columns - 1 - rest);
  if (moment.fraction === undefined || cells < FEWEST_CELLS) {
    return `[${actor}] ${renderProgressText(moment)}`.slice(0, columns - 1);
  }
  const filled = Math.round(fraction * cells);
  const bar = palette.cyan('█'.repeat(filled)) + palette.dim('░'.repeat(cells - filled));
  return `${palette.dim(`[${actor}]`)} ${doing} ${bar} ${percent} ${palette.dim(detail)}`.trimEnd();
}

/** Rounded down: 100 % is said only when nothing is left. */
function toPercent(fraction: number): number {
  return Math.floor(fraction * 100 + 1e-9);
}

function share(done: number | undefined, total: number | undefined): number | undefined {
  if (done === undefined || !total) return undefined;
  return Math.min(1, Math.max(0, done / total));
}

function megabytes(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}

function remaining(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
