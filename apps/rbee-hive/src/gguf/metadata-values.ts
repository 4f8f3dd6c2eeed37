import type { ByteWindow } from './byte-window.js';
import { corruptModelFile } from './gguf-errors.js';

/**
 * A kept metadata value. Long strings and all arrays keep their length alone, short numeric arrays their numbers:
 * token lists and templates can be megabytes, and only their size or presence matters here.
 */
export type MetadataValue = string | number | boolean | { length: number; numbers: number[] | null };

const STRING = 8;
const ARRAY = 9;

/** Bytes of the scalar types, by GGUF value type id. */
const SCALAR_BYTES: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 4],
  [5, 4],
  [6, 4],
  [7, 1],
  [10, 8],
  [11, 8],
  [12, 8],
]);

const MAX_KEPT_STRING_BYTES = 1024;
const MAX_KEPT_NUMBERS = 4096;
const MAX_ARRAY_DEPTH = 4;

export async function readMetadataValue(window: ByteWindow, name: string, type: number): Promise<MetadataValue> {
  if (type === STRING) return readString(window);
  if (type === ARRAY) return readArray(window, name);
  await window.need(scalarBytes(name, type));
  return readScalar(window, name, type);
}

export async function skipMetadataValue(window: ByteWindow, name: string, type: number, depth = 0): Promise<void> {
  if (type === STRING) return skipString(window);
  if (type !== ARRAY) return window.skip(scalarBytes(name, type));
  await window.need(12);
  const elementType = window.u32();
  const count = window.u64();
  await skipElements(window, name, elementType, count, depth + 1);
}

async function readString(window: ByteWindow): Promise<MetadataValue> {
  await window.need(8);
  const length = window.u64();
  if (length > MAX_KEPT_STRING_BYTES) {
    window.skip(length);
    return { length, numbers: null };
  }
  await window.need(length);
  return window.text(length);
}

async function skipString(window: ByteWindow): Promise<void> {
  if (!window.has(8)) await window.need(8);
  window.skip(window.u64());
}

async function readArray(window: ByteWindow, name: string): Promise<MetadataValue> {
  await window.need(12);
  const elementType = window.u32();
  const count = window.u64();
  const numeric = elementType !== STRING && elementType !== ARRAY;
  if (!numeric || count > MAX_KEPT_NUMBERS) {
    await skipElements(window, name, elementType, count, 1);
    return { length: count, numbers: null };
  }
  await window.need(scalarBytes(name, elementType) * count);
  const numbers = Array.from({ length: count }, () => Number(readScalar(window, name, elementType)));
  return { length: count, numbers };
}

async function skipElements(
  window: ByteWindow,
  name: string,
  elementType: number,
  count: number,
  depth: number,
): Promise<void> {
  if (depth > MAX_ARRAY_DEPTH) throw corruptModelFile(name, `arrays nested more than ${MAX_ARRAY_DEPTH} deep`);
  if (elementType !== STRING && elementType !== ARRAY) {
    return window.skip(scalarBytes(name, elementType) * count);
  }
  for (let element = 0; element < count; element++) {
    if (elementType === ARRAY) {
      await skipMetadataValue(window, name, ARRAY, depth);
      continue;
    }
    // Vocabularies have 100,000 strings and more: an await for each would take most of the time.
    if (!window.has(8)) await window.need(8);
    window.skip(window.u64());
  }
}

function scalarBytes(name: string, type: number): number {
  const bytes = SCALAR_BYTES.get(type);
  if (bytes === undefined) throw corruptModelFile(name, `a value of unknown type ${type}`);
  return bytes;
}

function readScalar(window: ByteWindow, name: string, type: number): number | boolean {
  switch (type) {
    case 0:
      return window.u8();
    case 1:
      return window.i8();
    case 2:
      return window.u16();
    case 3:
      return window.i16();
    case 4:
      return window.u32();
    case 5:
      return window.i32();
    case 6:
      return window.f32();
    case 7:
      return window.u8() !== 0;
    case 10:
      return window.u64();
    case 11:
      return window.i64();
    case 12:
      return window.f64();
    default:
      throw corruptModelFile(name, `a value of unknown type ${type}`);
  }
}
