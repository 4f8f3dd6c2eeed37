import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import { RbeeError } from '@rbee/protocol';
import { type GgufFileInfo, readGgufFileInfo } from 'node-llama-cpp';

/** What the header of a model file says. */
export interface ModelFile {
  readonly path: string;
  /** Layers of the network, for load progress. */
  readonly layers: number;
  readonly bytes: number;
}

const MAGIC = 'GGUF';
/** Long lists that are not needed before loading. */
const VOCABULARY_KEYS = ['tokens', 'scores', 'token_type', 'merges'].map((name) => `tokenizer.ggml.${name}`);

/**
 * Reads the header of a GGUF file. Throws UNSUPPORTED_MODEL_FORMAT when it is none, MODEL_LOAD_FAILED when it can't be read or its
 * header is broken.
 */
export async function readModelFile(path: string): Promise<ModelFile> {
  const name = basename(path);
  const { magic, bytes } = await readMagic(path, name);
  if (!name.toLowerCase().endsWith('.gguf') || magic !== MAGIC) {
    const found = magic === MAGIC ? 'its name does not end in .gguf' : `it begins with ${JSON.stringify(magic)}`;
    throw new RbeeError(
      'UNSUPPORTED_MODEL_FORMAT',
      `${name} is not a GGUF file: ${found}, expected a .gguf file that begins with "GGUF"`,
      {
        details: { file: name, expected: MAGIC },
        suggestion: 'download or convert the model to GGUF',
      },
    );
  }
  const info = await readHeader(path, name, bytes);
  const needed = Math.max(
    info.infoEndOffset ?? 0,
    ...(info.tensorInfo ?? []).map((tensor) => Number(tensor.fileOffset)),
  );
  if (needed >= bytes) throw toLoadError(name, `it is incomplete: it has ${bytes} bytes and needs more than ${needed}`);
  return { path, bytes, layers: Math.max(1, Number(info.architectureMetadata?.block_count ?? 1)) };
}

async function readHeader(path: string, name: string, bytes: number): Promise<GgufFileInfo> {
  try {
    return await readGgufFileInfo(path, { sourceType: 'filesystem', logWarnings: false, ignoreKeys: VOCABULARY_KEYS });
  } catch (cause) {
    throw toLoadError(name, `its header is damaged or incomplete (${bytes} bytes on disk)`, cause);
  }
}

async function readMagic(path: string, name: string): Promise<{ magic: string; bytes: number }> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { bytesRead, buffer } = await file.read(Buffer.alloc(MAGIC.length), 0, MAGIC.length, 0);
    return { magic: buffer.toString('latin1', 0, bytesRead), bytes: (await file.stat()).size };
  } catch (cause) {
    throw toLoadError(name, `it cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown reason'})`, cause);
  } finally {
    await file?.close();
  }
}

/** The error for a model file that exists in the catalog but can't become a running model. */
export function toLoadError(name: string, reason: string, cause?: unknown): RbeeError {
  return new RbeeError('MODEL_LOAD_FAILED', `the model ${name} could not be loaded: ${reason}`, {
    details: { file: name, reason },
    suggestion: 'check that the file is whole (its size and checksum), or download it again',
    cause,
  });
}
