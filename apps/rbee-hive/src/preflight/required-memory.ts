import type { Backend, MemoryFigures } from '@rbee/protocol';
import { estimateMemory } from '../gguf/estimate-memory.js';
import type { MemoryProfile } from '../gguf/memory-profile.js';
import { BYTES_PER_MB } from '../probe/snapshot.js';
import type { Footprint } from './footprint.js';

/** A model and how it is to be run; context and slots left out: what the worker takes by itself. */
export interface MemoryNeed {
  /** All files of the model. */
  sizeBytes: number;
  /** Left out or null when the header does not say enough; the size of the file decides then. */
  profile?: MemoryProfile | null | undefined;
  contextSize?: number | undefined;
  slots?: number | undefined;
  backend?: Backend | undefined;
}

export interface RequiredMemory {
  /** MB of the machine's memory that must be free. */
  requiredMb: number;
  /** MB that must be free on the device; the process itself is not there. */
  deviceMb: number;
  /** Which of the two rules asked for more. */
  rule: 'file_size' | 'estimate';
  /** What the header says of the model at this context and these slots. */
  estimate: MemoryFigures | null;
  /** The reason in few words, for the user. */
  because: string;
  /** What the worker is going to hold, without the margins that its start asks for. */
  footprint: Footprint;
}

/** Node.js and the engine's libraries, measured with small models. */
const PROCESS_BYTES = 80 * BYTES_PER_MB;
/** The engine and the worker keep the text of each token. */
const BYTES_PER_TOKEN = 768;

/**
 * Memory that must be free before a worker is started: the size of the file times 1.2, or what the header says of weights, caches
 * and buffers, whichever is more. The worker's own process is in neither, and counts beside the estimate: for a small model it
 * is the larger part.
 */
export function requiredMemory({ sizeBytes, profile, ...request }: MemoryNeed): RequiredMemory {
  const byFileSize = requiredMemoryMb(sizeBytes);
  const fileSize = `1.2 times its ${toMb(sizeBytes)} MB on disk`;
  if (!profile) {
    const footprint = { modelBytes: sizeBytes, ownBytes: PROCESS_BYTES };
    const both = { requiredMb: byFileSize, deviceMb: byFileSize };
    return { ...both, rule: 'file_size', estimate: null, because: fileSize, footprint };
  }
  const estimate = estimateMemory(profile, request);
  const ownBytes = PROCESS_BYTES + BYTES_PER_TOKEN * profile.vocabularySize;
  const byEstimate = toMb(estimate.total_bytes + ownBytes);
  const rule = byEstimate > byFileSize ? 'estimate' : 'file_size';
  return {
    requiredMb: Math.max(byFileSize, byEstimate),
    deviceMb: Math.max(byFileSize, toMb(estimate.total_bytes)),
    rule,
    estimate,
    because: rule === 'file_size' ? fileSize : explain(estimate, ownBytes),
    // Weights take about what their file does, whatever a header makes of them.
    footprint: { modelBytes: Math.max(sizeBytes, estimate.total_bytes), ownBytes },
  };
}

/** MB that a model of this file size must find free by its size alone: times 1.2, rounded up. */
export function requiredMemoryMb(sizeBytes: number): number {
  // As a fraction of integers, so that 5000 MB need 6000 MB and not 6001.
  return Math.ceil((sizeBytes * 12) / (BYTES_PER_MB * 10));
}

/** In MB, short: a narration has a hundred characters. */
function explain({ weights_bytes, kv_cache_bytes, compute_bytes }: MemoryFigures, ownBytes: number): string {
  const [weights, caches, buffers, own] = [weights_bytes, kv_cache_bytes, compute_bytes, ownBytes].map(toMb);
  return `weights ${weights}, caches ${caches}, buffers ${buffers}, process ${own}`;
}

function toMb(bytes: number): number {
  return Math.ceil(bytes / BYTES_PER_MB);
}
