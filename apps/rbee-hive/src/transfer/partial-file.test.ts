import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from '@jest/globals';
import { readStartTime } from '@rbee/daemon-kit';
import { isPartialName, PartialFile, partialPathOf, readPartialSize } from './partial-file.js';
import { deletePartial, isPartialLocked } from './partial-lock.js';

const root = mkdtempSync(join(tmpdir(), 'rbee-partial-'));
afterAll(() => rmSync(root, { recursive: true }));
let count = 0;
let folder: string;
let target: string;
beforeEach(() => {
  folder = join(root, String(count++), 'o', 'r');
  target = join(folder, 'model.gguf');
});

const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const expectedOf = (bytes: Uint8Array) => ({ sizeBytes: bytes.length, digest: digestOf(bytes) });
const content = randomBytes(2.5 * 1024 * 1024);
const expected = expectedOf(content);
const files = () => readdirSync(folder).sort();

async function writeInPieces(file: PartialFile, bytes: Uint8Array, pieceBytes = 100_003) {
  const piece = Buffer.alloc(pieceBytes);
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    const length = Math.min(pieceBytes, bytes.length - start);
    piece.set(bytes.subarray(start, start + length));
    // The caller's buffer is its own again as soon as the write has resolved.
    await file.write(piece.subarray(0, length));
    piece.fill(0);
  }
}

async function leavePartial(bytes: Uint8Array, of = expected) {
  const file = await PartialFile.open(target, of);
  await file.write(bytes);
  await file.suspend();
}

describe('PartialFile', () => {
  it('gives a complete file its name and leaves nothing beside it', async () => {
    const file = await PartialFile.open(target, expected);
    expect(file.offset).toBe(0);
    await writeInPieces(file, content);
    expect(file.offset).toBe(content.length);
    expect(existsSync(target)).toBe(false);
    await file.commit();
    expect(readFileSync(target).equals(content)).toBe(true);
    expect(files()).toEqual(['model.gguf']);
  });

  it('goes on with what an earlier attempt has left', async () => {
    await leavePartial(content.subarray(0, 1_500_000));
    expect(files()).toEqual([`model.gguf.${expected.digest.slice(0, 16)}.partial`]);
    await expect(readPartialSize(target, expected)).resolves.toBe(1_500_000);
    const file = await PartialFile.open(target, expected);
    expect(file.offset).toBe(1_500_000);
    await writeInPieces(file, content.subarray(1_500_000));
    await file.commit();
    expect(readFileSync(target).equals(content)).toBe(true);
  });

  it('needs no more bytes where all of them are there', async () => {
    await leavePartial(content);
    const file = await PartialFile.open(target, expected);
    expect(file.offset).toBe(content.length);
    await file.commit();
    expect(files()).toEqual(['model.gguf']);
  });

  it('begins anew on request', async () => {
    await leavePartial(randomBytes(1_200_000));
    const file = await PartialFile.open(target, expected);
    await file.write(content.subarray(0, 700_000));
    await file.restart();
    expect(file.offset).toBe(0);
    await writeInPieces(file, content);
    await file.commit();
    expect(readFileSync(target).equals(content)).toBe(true);
  });

  it('takes an empty file', async () => {
    await (await PartialFile.open(target, expectedOf(Buffer.alloc(0)))).commit();
    expect(readFileSync(target)).toHaveLength(0);
  });

  it.each([
    ['a changed byte', async (file: PartialFile) => file.write(Buffer.concat([content.subarray(0, -1), Buffer.of(1)]))],
    ['too many bytes', async (file: PartialFile) => file.write(Buffer.concat([content, Buffer.of(1)]))],
  ])('deletes a file with %s', async (_name, write) => {
    const file = await PartialFile.open(target, { ...expected, digest: digestOf(Buffer.from('other')) });
    const failed = (async () => {
      await write(file);
      await file.commit();
    })();
    await expect(failed).rejects.toMatchObject({ code: 'CHECKSUM_MISMATCH', retryable: true });
    expect(files()).toEqual([]);
    await file.suspend();
  });

  it('deletes what an earlier attempt has left when it turns out to be wrong', async () => {
    await leavePartial(randomBytes(1_000_000));
    const file = await PartialFile.open(target, expected);
    await file.write(content.subarray(1_000_000));
    await expect(file.commit()).rejects.toMatchObject({ code: 'CHECKSUM_MISMATCH' });
    expect(files()).toEqual([]);
  });

  it('keeps a file that is too short, without its name', async () => {
    const file = await PartialFile.open(target, expected);
    await file.write(content.subarray(0, 1000));
    await expect(file.commit()).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      details: { bytes: 1000 },
    });
    await expect(readPartialSize(target, expected)).resolves.toBe(1000);
    expect(existsSync(target)).toBe(false);
  });

  it('goes on with nothing whose digest is unknown, or that is longer than it may be', async () => {
    const unverified = { sizeBytes: content.length, digest: undefined };
    await leavePartial(content.subarray(0, 5000), unverified as never);
    const again = await PartialFile.open(target, unverified);
    expect(again.offset).toBe(0);
    await writeInPieces(again, content);
    await again.commit();
    expect(readFileSync(target).equals(content)).toBe(true);
    writeFileSync(partialPathOf(target, expected), Buffer.alloc(content.length + 1));
    await expect(readPartialSize(target, expected)).resolves.toBe(0);
    const longer = await PartialFile.open(target, expected);
    expect(longer.offset).toBe(0);
    await longer.suspend();
  });

  it('leaves nothing when nothing has come', async () => {
    await (await PartialFile.open(target, expected)).suspend();
    expect(files()).toEqual([]);
  });

  it('deletes the partial files of other versions, and nothing else', async () => {
    mkdirSync(folder, { recursive: true });
    const stays = [
      'model.gguf.1.partial',
      'other.gguf.0123456789abcdef.partial',
      'model.gguf',
      'my model.gguf.partial',
    ];
    for (const name of [...stays, 'model.gguf.0123456789abcdef.partial', 'model.gguf.unverified.partial']) {
      writeFileSync(join(folder, name), 'x');
    }
    const file = await PartialFile.open(target, expected);
    await file.write(content.subarray(0, 1));
    await file.suspend();
    const mine = `model.gguf.${expected.digest.slice(0, 16)}.partial`;
    expect(files()).toEqual([...stays, mine].sort());
    expect(files().filter(isPartialName)).toEqual([mine, 'other.gguf.0123456789abcdef.partial'].sort());
  });

  it('stops reading what is there when it is aborted', async () => {
    await leavePartial(content);
    const stopped = new AbortController();
    const opening = PartialFile.open(target, expected, stopped.signal);
    stopped.abort(new Error('stopped'));
    await expect(opening).rejects.toThrow('stopped');
    expect(files()).toHaveLength(1);
    await expect(PartialFile.open(target, expected, stopped.signal)).rejects.toThrow('stopped');
  });

  it('tells what the file system refuses', async () => {
    mkdirSync(join(root, String(count)), { recursive: true });
    writeFileSync(join(root, String(count), 'file'), '');
    const opening = PartialFile.open(join(root, String(count), 'file', 'model.gguf'), expected);
    await expect(opening).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: false,
      details: { cause: 'EEXIST' },
    });
  });

  it('refuses to name a file that somebody else has put in its place', async () => {
    const file = await PartialFile.open(target, expected);
    await file.write(content);
    rmSync(partialPathOf(target, expected));
    writeFileSync(partialPathOf(target, expected), Buffer.alloc(content.length));
    await expect(file.commit()).rejects.toMatchObject({ code: 'DOWNLOAD_FAILED', retryable: true });
    expect(existsSync(target)).toBe(false);
  });
});

describe('the lock of a partial file', () => {
  it('keeps everybody else out until the file is closed', async () => {
    const file = await PartialFile.open(target, expected);
    await file.write(content.subarray(0, 10));
    const path = partialPathOf(target, expected);
    await expect(isPartialLocked(path)).resolves.toBe(true);
    await expect(PartialFile.open(target, expected)).rejects.toMatchObject({
      code: 'DOWNLOAD_FAILED',
      retryable: true,
      details: { busy: true },
    });
    await expect(deletePartial(path)).resolves.toBeUndefined();
    await file.suspend();
    await expect(isPartialLocked(path)).resolves.toBe(false);
    await expect(deletePartial(path)).resolves.toBe(10);
    expect(files()).toEqual([]);
  });

  it('lets at most one of many in at the same time', async () => {
    for (let round = 0; round < 20; round++) {
      const opened = await Promise.allSettled(Array.from({ length: 5 }, () => PartialFile.open(target, expected)));
      const holders = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(holders.length).toBeLessThanOrEqual(1);
      for (const holder of holders) await holder.suspend();
    }
    await (await PartialFile.open(target, expected)).suspend();
  });

  it('holds as long as its process lives, not longer', async () => {
    const child: ChildProcess = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    await once(child, 'spawn');
    mkdirSync(folder, { recursive: true });
    const start = Buffer.from(readStartTime(child.pid as number) ?? '').toString('base64url');
    const path = partialPathOf(target, expected);
    writeFileSync(path, content.subarray(0, 100));
    writeFileSync(`${path}.${child.pid}-${start}-0123abcd.lock`, '');
    await expect(PartialFile.open(target, expected)).rejects.toMatchObject({ details: { busy: true } });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const file = await PartialFile.open(target, expected);
    expect(file.offset).toBe(100);
    await file.write(content.subarray(100));
    await file.commit();
    expect(files()).toEqual(['model.gguf']);
  });
});

/** A file system of 1 MiB, which only root can make. */
const small = mkdtempSync(join(tmpdir(), 'rbee-small-'));
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'rbee-test', small]).status === 0;
afterAll(() => {
  if (mounted) spawnSync('umount', [small]);
  rmSync(small, { recursive: true });
});

(mounted ? it : it.skip)('deletes the file when the disk is full, and says so', async () => {
  const full = join(small, 'model.gguf');
  const file = await PartialFile.open(full, expected);
  const failed = (async () => {
    await writeInPieces(file, content);
    await file.commit();
  })();
  await expect(failed).rejects.toMatchObject({ code: 'DISK_FULL', retryable: false, details: { file: 'model.gguf' } });
  expect(readdirSync(small)).toEqual([]);
});
