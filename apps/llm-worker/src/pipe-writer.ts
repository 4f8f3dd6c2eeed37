import type { Writable } from 'node:stream';

/**
 * Writes lines to a standard stream for as long as someone reads it. A worker outlives the hive that started it, so a broken pipe
 * must not end it: from then on lines are dropped, and `onBroken` is called once.
 */
export class PipeWriter {
  readonly #stream: Writable;
  #broken = false;

  constructor(stream: Writable, onBroken: (error: Error) => void = () => undefined) {
    this.#stream = stream;
    stream.on('error', (error) => {
      if (this.#broken) return;
      this.#broken = true;
      onBroken(error);
    });
  }

  write(line: string): void {
    if (!this.#broken) this.#stream.write(line);
  }
}
