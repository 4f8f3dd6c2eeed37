import { basename } from 'node:path';
import { formatDuration } from './duration.js';
import type { LoadReport } from './live-settings.js';
import type { Logger } from './logger.js';
import type { Narrate, Spoken } from './narrator.js';

export interface LoadTold {
  readonly service: string;
  readonly log: Logger;
  /** Takes the narration to the user; without it, it is only logged. */
  readonly narrate?: Narrate;
}

/**
 * Tells that the configuration was read, and what that changed, under one correlation id. The narration has the name of
 * the file alone, because it reaches callers on other machines; the log has the path.
 */
export function tellLoad(report: LoadReport, { service, log, narrate }: LoadTold): void {
  const { id, kind, file, durationMs, overridden, changed, needsRestart, error } = report;
  const action = kind === 'load' ? 'config_load' : 'config_reload';
  const duration_ms = Math.round(durationMs);
  const spoken: Spoken = {
    actor: service,
    action,
    target: file === undefined ? 'defaults' : basename(file),
    human: toHuman(report),
    duration_ms,
    correlation_id: id,
    ...(error && { level: 'error' }),
  };
  const about = log.with({ correlation_id: id, action, file, duration_ms });
  if (narrate) narrate(spoken);
  else about[error ? 'error' : 'info']({ target: spoken.target }, spoken.human);
  if (error) {
    about.error({ error }, `the configuration is as it was: ${error.message}`);
    return;
  }
  for (const { key, by, source, value, fileValue } of overridden) {
    const what = by === 'flag' ? 'a flag' : 'the environment';
    about.info({ key, source, value, file_value: fileValue }, `${what} overrides the file`);
  }
  if (kind === 'reload') about.info({ changed, needs_restart: needsRestart }, 'the configuration was read again');
  for (const { key, from, to } of needsRestart) {
    about.warn({ key, from, to }, `takes effect after a restart: ${key}`);
  }
}

/** At most 100 characters, whatever the file is called. */
function toHuman({ kind, file, durationMs, configured, overridden, changed, error }: LoadReport): string {
  if (error) return 'the configuration was not read again: it has mistakes, and the old values stay';
  const source = file === undefined ? 'no file' : shorten(basename(file));
  const read = `configuration read${kind === 'load' ? '' : ' again'} from ${source} in ${formatDuration(durationMs)}`;
  if (kind === 'reload') return `${read}: ${changed.length === 0 ? 'no change' : counted(changed.length, 'change')}`;
  const beaten = overridden.length === 0 ? '' : `, ${overridden.length} overridden`;
  return `${read}: ${counted(configured, 'setting')}${beaten}`;
}

function shorten(name: string): string {
  return name.length > 30 ? `${name.slice(0, 29)}…` : name;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
