import { isatty } from 'node:tty';
import type { Clock } from './clock.js';
import type { SignalSource } from './lifecycle.js';

/** Whoever ends a terminal may signal its programs before it is gone. */
const TERMINAL_CLOSES_MS = 100;

/**
 * Takes SIGHUP, which says "read your configuration again" to a daemon, and "your terminal is gone" to a program that
 * was started on one. Made before anything else of a daemon, so that a hangup while it starts does not end it: that one
 * is kept until there is somebody who attends to it.
 */
export class Hangups {
  readonly #signals: SignalSource;
  readonly #clock: Clock;
  readonly #hasTerminal: () => boolean;
  readonly #startedOnTerminal: boolean;
  #attend: ((terminalGone: boolean) => void) | undefined;
  #kept = false;
  #cancelLook: (() => void) | undefined;

  constructor(signals: SignalSource, clock: Clock, hasTerminal: () => boolean = () => isatty(0)) {
    this.#signals = signals;
    this.#clock = clock;
    this.#hasTerminal = hasTerminal;
    // Where standard input is no terminal, as with nohup or a service manager, a hangup is never that of a terminal.
    this.#startedOnTerminal = hasTerminal();
    signals.on('SIGHUP', this.#arrive);
  }

  /** Hands every further hangup on, and one that was kept; several that were kept are one. */
  attend(attend: (terminalGone: boolean) => void): void {
    this.#attend = attend;
    if (this.#kept) this.#arrive();
  }

  /** Hangups end the process again, as they do by themselves. */
  close(): void {
    this.#cancelLook?.();
    this.#cancelLook = undefined;
    this.#attend = undefined;
    this.#signals.off('SIGHUP', this.#arrive);
  }

  readonly #arrive = (): void => {
    this.#kept = this.#attend === undefined;
    if (this.#kept || this.#cancelLook !== undefined) return;
    if (!this.#startedOnTerminal) {
      this.#attend?.(false);
      return;
    }
    this.#cancelLook = this.#clock.after(TERMINAL_CLOSES_MS, () => {
      this.#cancelLook = undefined;
      this.#attend?.(!this.#hasTerminal());
    });
  };
}
