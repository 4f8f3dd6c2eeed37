import { createInterface, type Interface } from 'node:readline';
import { orAborted } from '@rbee/daemon-kit/client';
import type { TextSource } from '../keeper-environment.js';
import type { ChatReader, ReadResult } from './chat-reader.js';

/** Reads lines from a pipe or a file; shows no prompt. */
export class PipedReader implements ChatReader {
  readonly #interface: Interface;
  readonly #lines: AsyncIterator<string>;

  constructor(stdin: TextSource) {
    this.#interface = createInterface({ input: stdin, crlfDelay: Number.POSITIVE_INFINITY });
    this.#lines = this.#interface[Symbol.asyncIterator]();
  }

  async read(_prompt: string, signal: AbortSignal): Promise<ReadResult> {
    try {
      const { value, done } = await orAborted(this.#lines.next(), signal);
      return done ? { kind: 'end' } : { kind: 'lines', lines: [value] };
    } catch (error) {
      if (!signal.aborted) throw error;
      return { kind: 'end' };
    }
  }

  close(): void {
    this.#interface.close();
  }
}
