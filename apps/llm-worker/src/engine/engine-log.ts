import { LlamaLogLevel } from 'node-llama-cpp';
import { type BufferLine, readBufferLines } from './buffer-line.js';

/** Takes the engine's own log lines. */
export interface EngineLog {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

const KEPT = 32;

/**
 * Passes the engine's log lines on, and keeps what only they tell: the last errors, because its exceptions don't say why, and the
 * sizes of its buffers.
 */
export class EngineLogTap {
  readonly #log: EngineLog;
  readonly #errors: string[] = [];
  readonly #buffers: BufferLine[] = [];

  constructor(log: EngineLog) {
    this.#log = log;
  }

  /** Errors since the last call, oldest first. */
  takeErrors(): string[] {
    return this.#errors.splice(0);
  }

  /** Buffers that were announced since the last call; the engine tells of them on the level `info`. */
  takeBuffers(): BufferLine[] {
    return this.#buffers.splice(0);
  }

  readonly write = (level: LlamaLogLevel, message: string): void => {
    const text = message.trim();
    if (text === '') return;
    const bad = level === LlamaLogLevel.error || level === LlamaLogLevel.fatal;
    for (const buffer of readBufferLines(text)) if (this.#buffers.push(buffer) > KEPT) this.#buffers.shift();
    if (bad && this.#errors.push(text) > KEPT) this.#errors.shift();
    this.#log[bad || level === LlamaLogLevel.warn ? 'warn' : 'debug']({ engine: level }, text);
  };
}
