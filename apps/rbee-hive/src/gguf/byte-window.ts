import type { FileHandle } from 'node:fs/promises';
import { corruptModelFile, truncatedModelFile } from './gguf-errors.js';

const WINDOW_BYTES = 64 * 1024;

/** Headers of real models stay below 32 MiB; beyond this the counts in the file are nonsense. */
const HEADER_LIMIT_BYTES = 256 * 1024 * 1024;

/**
 * A little-endian reader over one file that holds 64 KiB at a time, so that no figure in the file can make it
 * allocate more. `need` fetches; the getters only read what `need` has made available.
 */
export class ByteWindow {
  private readonly buffer = Buffer.allocUnsafe(WINDOW_BYTES);
  private windowStart = 0;
  private windowEnd = 0;
  private offset = 0;

  constructor(
    private readonly file: FileHandle,
    private readonly name: string,
    readonly fileSize: number,
  ) {}

  get position(): number {
    return this.offset;
  }

  has(bytes: number): boolean {
    return this.offset >= this.windowStart && this.offset + bytes <= this.windowEnd;
  }

  /** Makes `bytes` (at most 64 KiB) readable at the position; throws when the file ends before them. */
  async need(bytes: number): Promise<void> {
    if (this.has(bytes)) return;
    if (bytes > WINDOW_BYTES) throw corruptModelFile(this.name, `a value of ${bytes} bytes where a short one belongs`);
    if (this.offset > HEADER_LIMIT_BYTES) {
      throw corruptModelFile(this.name, `a header of more than ${HEADER_LIMIT_BYTES} bytes`);
    }
    this.requireInFile(bytes);
    this.windowStart = this.offset;
    this.windowEnd = this.offset;
    while (this.windowEnd - this.offset < bytes) {
      const filled = this.windowEnd - this.windowStart;
      const { bytesRead } = await this.file.read(this.buffer, filled, WINDOW_BYTES - filled, this.windowEnd);
      if (bytesRead === 0) throw truncatedModelFile(this.name, this.offset + bytes, this.windowEnd);
      this.windowEnd += bytesRead;
    }
  }

  u8(): number {
    return this.buffer.readUInt8(this.advance(1));
  }

  i8(): number {
    return this.buffer.readInt8(this.advance(1));
  }

  u16(): number {
    return this.buffer.readUInt16LE(this.advance(2));
  }

  i16(): number {
    return this.buffer.readInt16LE(this.advance(2));
  }

  u32(): number {
    return this.buffer.readUInt32LE(this.advance(4));
  }

  i32(): number {
    return this.buffer.readInt32LE(this.advance(4));
  }

  f32(): number {
    return this.buffer.readFloatLE(this.advance(4));
  }

  f64(): number {
    return this.buffer.readDoubleLE(this.advance(8));
  }

  i64(): number {
    return Number(this.buffer.readBigInt64LE(this.advance(8)));
  }

  /** An unsigned 64-bit count, length or offset; one above 2^53 can't be meant seriously. */
  u64(): number {
    const at = this.advance(8);
    const high = this.buffer.readUInt32LE(at + 4);
    if (high > 0x1f_ffff) throw corruptModelFile(this.name, 'a count or length above 2^53');
    return high * 0x1_0000_0000 + this.buffer.readUInt32LE(at);
  }

  text(bytes: number): string {
    const at = this.advance(bytes);
    return this.buffer.toString('utf8', at, at + bytes);
  }

  /** Moves on without reading; throws when that leaves the file. */
  skip(bytes: number): void {
    this.requireInFile(bytes);
    this.offset += bytes;
  }

  private requireInFile(bytes: number): void {
    const end = this.offset + bytes;
    if (end > this.fileSize) throw truncatedModelFile(this.name, end, this.fileSize);
  }

  private advance(bytes: number): number {
    const at = this.offset - this.windowStart;
    this.offset += bytes;
    return at;
  }
}
