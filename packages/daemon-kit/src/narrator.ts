import { type Narration, VERSION } from '@rbee/protocol';
import type { Clock } from './clock.js';
import type { Logger } from './logger.js';
import { redact, redactFields } from './redact.js';

/** What a part says; the rest of the event is added. */
export type Spoken = Omit<Narration, 'type' | 'emitted_by' | 'emitted_at_ms'>;

/** Speaks to the user: makes the event, writes it to the log, and hands it on. */
export type Narrate = (spoken: Spoken) => void;

const MAX_HUMAN_CHARS = 100;

export interface NarratorOptions {
  readonly service: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes each event to the user, for example onto a stream. */
  readonly deliver: (event: Narration) => void;
  /** Fields of every event, for example `job_id`. */
  readonly fields?: Partial<Spoken>;
}

/** Builds the function through which a service narrates. */
export function createNarrator(options: NarratorOptions): Narrate {
  const { service, clock, log, deliver, fields } = options;
  return (spoken) => {
    const event: Narration = {
      type: 'narration',
      ...redactFields({ ...fields, ...spoken }),
      human: shorten(redact(spoken.human)),
      emitted_by: `${service}@${VERSION}`,
      emitted_at_ms: clock.now(),
    };
    const { human, level, type: _type, ...rest } = event;
    log[level ?? 'info'](rest, human);
    deliver(event);
  };
}

function shorten(text: string): string {
  if (text.length <= MAX_HUMAN_CHARS) return text;
  // A cut within a surrogate pair would leave text that is not valid UTF-8.
  return `${text.slice(0, MAX_HUMAN_CHARS - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
