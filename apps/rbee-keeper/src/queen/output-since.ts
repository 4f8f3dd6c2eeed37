import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { renderLogLine } from '../log-line.js';

const MOST_BYTES = 64 * 1024;

/** The last lines that were written to a file after a position, as people read them. */
export function readOutputSince(file: string, offset: number, count: number): string[] {
  const descriptor = openSync(file, 'r');
  try {
    const { size } = fstatSync(descriptor);
    const length = Math.max(0, Math.min(size - offset, MOST_BYTES));
    const buffer = Buffer.alloc(length);
    readSync(descriptor, buffer, 0, length, size - length);
    const lines = buffer
      .toString('utf8')
      .split('\n')
      .filter((line) => line.trim() !== '');
    return lines.slice(-count).map((line) => renderLogLine(line));
  } finally {
    closeSync(descriptor);
  }
}
