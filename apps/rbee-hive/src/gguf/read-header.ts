import type { ByteWindow } from './byte-window.js';
import { corruptModelFile, unsupportedModelFile } from './gguf-errors.js';
import { type MetadataValue, readMetadataValue, skipMetadataValue } from './metadata-values.js';
import { type TensorSums, TensorTally } from './tensor-tally.js';
import { tensorBytes } from './tensor-types.js';

/** What a GGUF header says, before it is interpreted. */
export interface GgufHeader {
  version: number;
  metadata: ReadonlyMap<string, MetadataValue>;
  tensorCount: number;
  tensors: TensorSums;
  /** Offset of the first byte after the last tensor: the least size of an intact file. */
  dataEnd: number;
}

const MAGIC = 'GGUF';
const MAX_ENTRIES = 65_536;
const MAX_TENSORS = 1_000_000;
const MAX_KEY_BYTES = 65_535;
const MAX_DIMENSIONS = 8;
const DEFAULT_ALIGNMENT = 32;

/** Reads the header that starts at the window's position. `wanted` says which metadata keys are kept. */
export async function readHeader(
  window: ByteWindow,
  name: string,
  wanted: (key: string) => boolean,
): Promise<GgufHeader> {
  const version = await readVersion(window, name);
  await window.need(16);
  const tensorCount = window.u64();
  const entryCount = window.u64();
  if (tensorCount > MAX_TENSORS) throw corruptModelFile(name, `a count of ${tensorCount} tensors`);
  if (entryCount > MAX_ENTRIES) throw corruptModelFile(name, `a count of ${entryCount} metadata entries`);

  const metadata = new Map<string, MetadataValue>();
  for (let entry = 0; entry < entryCount; entry++) {
    const key = await readKey(window, name);
    await window.need(4);
    const type = window.u32();
    if (wanted(key)) metadata.set(key, await readMetadataValue(window, name, type));
    else await skipMetadataValue(window, name, type);
  }

  const { end, sums } = await readTensors(window, name, tensorCount);
  const alignment = alignmentOf(metadata, name);
  const dataStart = Math.ceil(window.position / alignment) * alignment;
  const dataEnd = tensorCount === 0 ? window.position : dataStart + end;
  return { version, metadata, tensorCount, tensors: sums, dataEnd };
}

async function readVersion(window: ByteWindow, name: string): Promise<number> {
  if (window.fileSize < 8) {
    throw unsupportedModelFile('magic', `${name} is not a GGUF file: ${window.fileSize} bytes are too few for one`);
  }
  await window.need(8);
  if (window.text(4) !== MAGIC) {
    throw unsupportedModelFile('magic', `${name} is not a GGUF file: it does not start with the bytes "GGUF"`);
  }
  const version = window.u32();
  if (version === 2 || version === 3) return version;
  if ((version & 0xffff) === 0 && version !== 0) {
    throw unsupportedModelFile('big_endian', `${name} is a big-endian GGUF file; only little-endian files are read`);
  }
  throw unsupportedModelFile('version', `${name} is a GGUF file of version ${version}; versions 2 and 3 are read`);
}

async function readKey(window: ByteWindow, name: string): Promise<string> {
  await window.need(8);
  const length = window.u64();
  if (length === 0 || length > MAX_KEY_BYTES) throw corruptModelFile(name, `a name of ${length} bytes`);
  await window.need(length);
  return window.text(length);
}

/** Adds up what the header says of the tensors. One of a type of unknown size counts as empty. */
async function readTensors(window: ByteWindow, name: string, tensorCount: number): Promise<TensorTally> {
  const tally = new TensorTally();
  for (let tensor = 0; tensor < tensorCount; tensor++) {
    const tensorName = await readKey(window, name);
    await window.need(4);
    const dimensionCount = window.u32();
    if (dimensionCount > MAX_DIMENSIONS) throw corruptModelFile(name, `a tensor of ${dimensionCount} dimensions`);
    await window.need(dimensionCount * 8 + 12);
    const dimensions: number[] = [];
    for (let dimension = 0; dimension < dimensionCount; dimension++) dimensions.push(window.u64());
    const type = window.u32();
    const offset = window.u64();
    const elements = dimensions.reduce((product, size) => product * size, 1);
    tally.add({ name: tensorName, dimensions, type }, offset, tensorBytes(type, elements) ?? 0);
    if (!Number.isSafeInteger(tally.end)) throw corruptModelFile(name, 'a tensor of more than 2^53 bytes');
  }
  return tally;
}

function alignmentOf(metadata: ReadonlyMap<string, MetadataValue>, name: string): number {
  const alignment = metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT;
  if (typeof alignment === 'number' && Number.isInteger(alignment) && alignment > 0 && alignment <= 65_536) {
    return alignment;
  }
  throw corruptModelFile(name, 'an alignment that is not a number from 1 to 65536');
}
