import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { orAborted } from '@rbee/daemon-kit/client';
import { type Message, messageSchema, RbeeError } from '@rbee/protocol';
import type { KeeperEnvironment } from '../keeper-environment.js';

/** Where the text for the model comes from; exactly one of the three is given. */
export interface InputSource {
  readonly prompt?: string | undefined;
  readonly promptFile?: string | undefined;
  readonly messages?: string | undefined;
}

export type TaskInput = { readonly prompt: string } | { readonly messages: readonly Message[] };

const MAX_BYTES = 16 * 1024 * 1024;

/**
 * Reads the prompt or the conversation; `-` stands for standard input. One line break at the end of a file or of standard
 * input is not part of the prompt. Throws INVALID_REQUEST when there is nothing to read or it cannot be used.
 */
export async function readInput(
  source: InputSource,
  env: Pick<KeeperEnvironment, 'cwd' | 'stdin'>,
  signal: AbortSignal,
): Promise<TaskInput> {
  if (source.messages !== undefined) {
    return { messages: parseMessages(await readText(source.messages, '--messages', env, signal), source.messages) };
  }
  if (source.promptFile !== undefined) {
    const text = await readText(source.promptFile, '--prompt-file', env, signal);
    return { prompt: checkPrompt(withoutFinalBreak(text), `the prompt in ${nameOf(source.promptFile)}`) };
  }
  const { prompt } = source;
  if (prompt !== '-') return { prompt: checkPrompt(prompt ?? '', 'the prompt') };
  const text = await readText('-', '--prompt', env, signal);
  return { prompt: checkPrompt(withoutFinalBreak(text), 'the prompt from standard input') };
}

function checkPrompt(prompt: string, what: string): string {
  const fault = prompt === '' ? 'is empty' : prompt.includes('\0') ? 'has a NUL character in it' : undefined;
  if (fault === undefined) return prompt;
  throw new RbeeError('INVALID_REQUEST', `${what} ${fault}`, {
    suggestion: 'for example rbee-keeper infer --prompt "write a short story"',
  });
}

function withoutFinalBreak(text: string): string {
  return text.replace(/\r?\n$/, '');
}

async function readText(
  file: string,
  flag: string,
  env: Pick<KeeperEnvironment, 'cwd' | 'stdin'>,
  signal: AbortSignal,
): Promise<string> {
  const source: Readable = file === '-' ? env.stdin : createReadStream(resolve(env.cwd, file));
  try {
    const bytes = await orAborted(readAll(source), signal);
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw signal.aborted ? signal.reason : toReadError(error, file, flag);
  } finally {
    source.destroy();
  }
}

/** What the system or the decoder has against a file, in words; any other error as it is. */
function toReadError(cause: unknown, file: string, flag: string): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  const why = code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'is not text in UTF-8' : explain(code);
  if (why === undefined) return cause;
  return new RbeeError('INVALID_REQUEST', `${flag}: ${nameOf(file)} ${why}`, {
    details: { file },
    suggestion: `check the path given with ${flag}`,
    cause,
  });
}

async function readAll(source: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk as Uint8Array | string);
    size += bytes.length;
    if (size > MAX_BYTES) {
      throw new RbeeError('PAYLOAD_TOO_LARGE', `the input is larger than ${MAX_BYTES} bytes`, {
        details: { limit_bytes: MAX_BYTES },
        suggestion: 'shorten it',
      });
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function parseMessages(text: string, file: string): Message[] {
  const refuse = (why: string, cause?: unknown) =>
    new RbeeError('INVALID_REQUEST', `--messages: ${nameOf(file)} ${why}`, {
      details: { file },
      suggestion: 'it must be a JSON array such as [{"role":"user","content":"hello"}]',
      cause,
    });
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw refuse('is not valid JSON', cause);
  }
  if (!Array.isArray(content) || content.length === 0) throw refuse('is not a JSON array with at least one message');
  return content.map((item, index) => {
    const parsed = messageSchema.safeParse(item);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw refuse(`has a wrong message at index ${index}: ${[...(issue?.path ?? []), issue?.message].join(': ')}`);
  });
}

function nameOf(file: string): string {
  return file === '-' ? 'standard input' : file;
}

function explain(code: string | undefined): string | undefined {
  if (code === 'ENOENT') return 'does not exist';
  if (code === 'EISDIR') return 'is a folder';
  if (code === 'EACCES') return 'may not be read by this user';
  return code !== undefined && /^E[A-Z]+$/.test(code) ? `cannot be read (${code})` : undefined;
}
