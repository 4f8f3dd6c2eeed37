import { listFiles } from '@huggingface/hub';
import type { HubFile } from './hub.js';
import type { HubAnswer, HubConnection } from './hub-connection.js';
import { downloadFailed, type Subject, toNetworkError } from './hub-errors.js';

/** A page has at most 1000 entries of some 300 bytes each. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;
const MAX_PAGES = 100;

/** The GGUF files of a repository. Throws MODEL_NOT_FOUND, MODEL_ACCESS_DENIED, DOWNLOAD_FAILED or the signal's reason. */
export async function listHubFiles(connection: HubConnection, repo: string, signal: AbortSignal): Promise<HubFile[]> {
  const subject = connection.subject(repo);
  let pages = 0;
  // The token is left to the connection: the library would send it to whatever host the next page is on.
  const fetchPage = async (address: unknown) => {
    pages++;
    if (pages > MAX_PAGES) throw notAList(subject, 'it has too many pages');
    const answer = await connection.get(String(address), subject, { headers: { accept: 'application/json' }, signal });
    const text = await readText(answer, subject, signal);
    if (!isJsonArray(text)) throw notAList(subject, describe(answer));
    const link = answer.headers.get('link');
    return new Response(text, { headers: link === undefined ? {} : { link } });
  };
  const files: HubFile[] = [];
  const options = { repo: { type: 'model', name: repo }, recursive: true, hubUrl: connection.endpoint } as const;
  for await (const entry of listFiles({ ...options, fetch: fetchPage as typeof fetch })) {
    const file = toHubFile(entry);
    if (file) files.push(file);
  }
  return files;
}

/** A GGUF file of the listing; whatever else stands there, or is not as it should be, is passed over. */
function toHubFile(entry: unknown): HubFile | undefined {
  const { type, path, size, lfs } = (entry ?? {}) as Record<string, unknown>;
  if (type !== 'file' || typeof path !== 'string' || !/\.gguf$/i.test(path)) return undefined;
  const { oid, size: lfsSize } = (lfs ?? {}) as Record<string, unknown>;
  const sizeBytes = lfsSize ?? size;
  if (!Number.isSafeInteger(sizeBytes) || (sizeBytes as number) <= 0) return undefined;
  const digest = typeof oid === 'string' && /^[0-9a-f]{64}$/i.test(oid) ? oid.toLowerCase() : undefined;
  return { path, sizeBytes: sizeBytes as number, digest };
}

async function readText(answer: HubAnswer, subject: Subject, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_PAGE_BYTES) break;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw toNetworkError(error, answer.host, subject);
  }
  if (size > MAX_PAGE_BYTES) throw notAList(subject, 'it is too large');
  return Buffer.concat(chunks).toString('utf8');
}

function isJsonArray(text: string): boolean {
  try {
    return Array.isArray(JSON.parse(text));
  } catch {
    return false;
  }
}

function describe({ host, headers }: HubAnswer): string {
  return headers.get('content-type')?.startsWith('text/html')
    ? `${host} sent a web page`
    : `${host} sent something else`;
}

function notAList(subject: Subject, why: string) {
  return downloadFailed(subject, `the answer is no list of files: ${why}`, {
    reason: 'no list of files',
    suggestion: 'check HF_ENDPOINT, and that no proxy or login page stands between this node and the hub',
  });
}
