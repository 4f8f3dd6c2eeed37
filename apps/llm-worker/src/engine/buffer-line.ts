/** A buffer as the engine's log announces it, for example `KV` or `compute`. */
export interface BufferLine {
  readonly kind: string;
  /** Exact to a hundredth of a MiB. */
  readonly bytes: number;
}

const LINE = /(\S+) buffer size = +(\d+(?:\.\d+)?) MiB/g;
const MIB = 1024 * 1024;

/** Finds lines such as `llama_kv_cache: CPU KV buffer size = 12.00 MiB` in what the engine logs. */
export function readBufferLines(text: string): BufferLine[] {
  return [...text.matchAll(LINE)].map(([, kind = '', size]) => ({ kind, bytes: Math.round(Number(size) * MIB) }));
}
