import { RbeeError } from '@rbee/protocol';

export type GgufFault = 'extension' | 'magic' | 'version' | 'big_endian' | 'corrupt' | 'truncated' | 'missing_part';

const DOWNLOAD_AGAIN = 'get the file again from where it came from, and compare its size or checksum';
const USE_GGUF = 'use a model in GGUF format (versions 2 and 3), in a file that ends in .gguf';

/** A file that can't be used as a model; `details.reason` tells the kinds apart. */
export function unsupportedModelFile(reason: GgufFault, message: string, details: Record<string, unknown> = {}) {
  const suggestion = reason === 'truncated' || reason === 'corrupt' ? DOWNLOAD_AGAIN : USE_GGUF;
  return new RbeeError('UNSUPPORTED_MODEL_FORMAT', message, { details: { reason, ...details }, suggestion });
}

/** The file ends before what its header promises. */
export function truncatedModelFile(name: string, neededBytes: number, fileBytes: number) {
  return unsupportedModelFile(
    'truncated',
    `${name} is truncated: its header asks for at least ${neededBytes} bytes, the file has ${fileBytes}`,
    { needed_bytes: neededBytes, file_bytes: fileBytes },
  );
}

/** The header contradicts itself or holds figures that no model has. */
export function corruptModelFile(name: string, what: string) {
  return unsupportedModelFile('corrupt', `${name} is not a valid GGUF file: its header holds ${what}`);
}
