import { DONE_FRAME, encodeSse, KEEP_ALIVE, type RbeeError, toErrorEvent } from '@rbee/protocol';
import type { Response } from 'express';
import type { Clock } from './clock.js';
import { whenDrained } from './drained.js';
import { toPublicJson } from './render-error.js';

const TERMINAL_STAGES: ReadonlySet<string | undefined> = new Set(['ready', 'complete', 'error']);

/** The writing end of a server-sent event stream: one write per event, one terminal event, then `[DONE]`. */
export class EventStream<E = unknown> {
  readonly #response: Response;
  readonly #clock: Clock;
  readonly #unnamed: boolean;
  readonly #keepAliveMs: number;
  #stopKeepAlive: (() => void) | undefined;
  #terminated = false;
  #finished = false;

  constructor(response: Response, options: { clock: Clock; unnamed: boolean; keepAliveMs: number }) {
    this.#response = response;
    this.#clock = options.clock;
    this.#unnamed = options.unnamed;
    this.#keepAliveMs = options.keepAliveMs;
  }

  /** Whether the status line has gone out. */
  get opened(): boolean {
    return this.#response.headersSent;
  }

  /** Whether the terminal event has gone out; nothing may follow. */
  get terminated(): boolean {
    return this.#terminated;
  }

  /** Sends status and headers now; otherwise the first event does. */
  open(headers: Readonly<Record<string, string>> = {}): void {
    if (this.opened) return;
    this.#response.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-cache, no-transform',
      'X-Accel-Buffering': 'no',
      ...headers,
    });
    this.#response.flushHeaders();
    // Small events must not wait for the acknowledgement of the one before.
    this.#response.socket?.setNoDelay(true);
    this.#stopKeepAlive = this.#clock.every(this.#keepAliveMs, () => this.#response.write(KEEP_ALIVE));
    this.#response.once('close', () => this.#stopKeepAlive?.());
  }

  /** Sends one event. Returns false when the reader is behind: then await `drained` before the next. */
  send(event: E, id?: string): boolean {
    const { type, stage } = event as { type?: string; stage?: string };
    // The stage of a named event says nothing about its stream.
    const terminal = this.#unnamed ? TERMINAL_STAGES.has(stage) : type === 'end' || type === 'error';
    return this.sendFrame(
      encodeSse({ event: this.#unnamed ? undefined : type, data: JSON.stringify(event), id }),
      terminal,
    );
  }

  /** Sends a frame that is encoded already. `terminal` says that it holds the terminal event. */
  sendFrame(frame: string, terminal = false): boolean {
    if (this.#terminated) throw new Error('an event was sent after the terminal event');
    this.open();
    if (terminal) this.#terminated = true;
    return this.#response.write(frame);
  }

  /** Resolves when the reader has caught up; rejects with the signal's reason when it goes away first. */
  drained(signal: AbortSignal): Promise<void> {
    return whenDrained(this.#response, signal);
  }

  /** Ends the stream with the `error` event, unless a terminal event has gone out. */
  fail(error: RbeeError, correlationId: string): void {
    if (this.#terminated) return;
    // The error may have come up for another request that shared the work.
    const event = { ...toErrorEvent(error), correlation_id: correlationId };
    const frame = this.#unnamed
      ? encodeSse({ data: toPublicJson({ ...event, stage: 'error' }) })
      : encodeSse({ event: 'error', data: toPublicJson(event) });
    this.sendFrame(frame, true);
  }

  /** Breaks the connection off: its reader sees a stream that was broken, not one that has ended. */
  cut(): void {
    this.#stopKeepAlive?.();
    this.#response.destroy();
  }

  /** Sends `[DONE]` and ends the answer. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.#stopKeepAlive?.();
    if (!this.#response.writableEnded) this.#response.end(DONE_FRAME);
  }
}
