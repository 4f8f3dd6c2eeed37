/** The place of an event among all of its task: which queen told it, counted from 1, and as which of its events. */
export interface EventPlace {
  readonly run: number;
  readonly n: number;
}

/** The id of an event on the wire. */
export function toEventId({ run, n }: EventPlace): string {
  return `${run}-${n}`;
}

/** The place that a `Last-Event-ID` names; `undefined` for what is none, so that its client gets everything. */
export function readEventId(id: string | readonly string[] | undefined): EventPlace | undefined {
  const [, run, n] = /^(\d{1,9})-(\d{1,9})$/.exec(typeof id === 'string' ? id : '') ?? [];
  return run === undefined || n === undefined ? undefined : { run: Number(run), n: Number(n) };
}

/** Whether one event was told after another. */
export function isBehind(one: EventPlace, other: EventPlace): boolean {
  return one.run === other.run ? one.n > other.n : one.run > other.run;
}
