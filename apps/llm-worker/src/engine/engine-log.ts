import { LlamaLogLevel } from 'node-llama-cpp';

/** Takes the engine's own log lines. */
export interface EngineLog {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}

const KEPT = 32;

/** Passes the engine's log lines on, and keeps the last errors among them: the engine's exceptions don't say why, its log does. */
export class EngineLogTap {
  readonly #log: EngineLog;
  readonly #errors: string[] = [];

  constructor(log: EngineLog) {
    this.#log = log;
  }

  /** Errors since the last call, oldest first. */
  takeErrors(): string[] {
    return this.#errors.splice(0);
  }

  readonly write = (level: LlamaLogLevel, message: string): void => {
    const text = message.trim();
    if (text === '') return;
    const bad = level === LlamaLogLevel.error || level === LlamaLogLevel.fatal;
    if (bad && this.#errors.push(text) > KEPT) this.#errors.shift();
    this.#log[bad || level === LlamaLogLevel.warn ? 'warn' : 'debug']({ engine: level }, text);
  };
}
