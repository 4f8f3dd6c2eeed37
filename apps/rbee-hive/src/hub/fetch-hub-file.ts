import type { Clock } from '@rbee/daemon-kit/client';
import { isRbeeError } from '@rbee/protocol';
import { PartialFile } from '../transfer/partial-file.js';
import type { FetchJob, FetchOptions } from './hub.js';
import { drop, type HubAnswer, type HubConnection } from './hub-connection.js';
import { downloadFailed, fileChanged, type Subject, toNetworkError, toRefusedError } from './hub-errors.js';
import type { RateLimit } from './rate-limit.js';

/** Progress is told at least four times a second. */
const PROGRESS_MS = 200;

interface Fetch extends FetchOptions {
  readonly connection: HubConnection;
  readonly clock: Clock;
  readonly limit: RateLimit;
}

/** One attempt to get a file, in this process. Resolves and rejects as `Fetching.done` does. */
export async function fetchHubFile({ repo, file, target }: FetchJob, fetch: Fetch): Promise<void> {
  const { connection, signal, onEvent } = fetch;
  const partial = await PartialFile.open(target, { sizeBytes: file.sizeBytes, digest: file.digest }, signal);
  try {
    onEvent({ type: 'offset', offset: partial.offset });
    const address = `${repo}/resolve/main/${file.path.split('/').map(encodeURIComponent).join('/')}`;
    const subject = connection.subject(repo, file.path);
    if (partial.offset < file.sizeBytes) {
      await receive({ ...fetch, file, partial, subject, address: `${connection.endpoint}/${address}` });
    }
    signal.throwIfAborted();
    onEvent({ type: 'verifying' });
    await partial.commit();
  } finally {
    // What was received stays for the next attempt.
    await partial.suspend();
  }
}

interface Receiving extends Fetch, Pick<FetchJob, 'file'> {
  readonly partial: PartialFile;
  readonly subject: Subject;
  readonly address: string;
}

async function receive(receiving: Receiving): Promise<void> {
  const { partial, subject, signal, onEvent, clock, limit } = receiving;
  const answer = await askForRest(receiving);
  let toldAt = clock.monotonic();
  let cancelTelling: (() => void) | undefined;
  const tell = () => {
    cancelTelling?.();
    cancelTelling = undefined;
    toldAt = clock.monotonic();
    onEvent({ type: 'offset', offset: partial.offset });
  };
  try {
    for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
      for (let rest = chunk; rest.length > 0; ) {
        const length = await limit.take(rest.length, signal);
        await partial.write(rest.subarray(0, length));
        rest = rest.subarray(length);
        if (clock.monotonic() - toldAt >= PROGRESS_MS) tell();
        // What came before a silence is not kept back until it ends.
        else cancelTelling ??= clock.after(PROGRESS_MS, tell);
      }
    }
  } catch (error) {
    signal.throwIfAborted();
    throw isRbeeError(error) ? error : toNetworkError(error, answer.host, subject);
  } finally {
    tell();
  }
  if (partial.offset < receiving.file.sizeBytes) {
    const reason = 'the connection broke';
    throw downloadFailed(subject, `${answer.host} sent too few bytes`, { reason, host: answer.host });
  }
}

/** An answer with exactly the bytes that are missing; the partial file begins anew where a server can't go on. */
async function askForRest(receiving: Receiving): Promise<HubAnswer> {
  const { connection, partial, subject, signal, address, onEvent } = receiving;
  const headers: Record<string, string> = partial.offset === 0 ? {} : { range: `bytes=${partial.offset}-` };
  let answer = await connection.get(address, subject, { headers, signal, accept: [416] });
  const beginAnew = async () => {
    await partial.restart();
    onEvent({ type: 'offset', offset: 0 });
  };
  try {
    if (answer.status === 416) {
      if (partial.offset === 0) throw toRefusedError({ ...answer, fromHub: false }, subject, 0);
      await beginAnew();
      drop(answer.body);
      answer = await connection.get(address, subject, { signal });
    }
    requireFile(answer, receiving);
    if (answer.status !== 206 && partial.offset > 0) await beginAnew();
    return answer;
  } catch (error) {
    drop(answer.body);
    throw error;
  }
}

/** Throws DOWNLOAD_FAILED when the answer is not the file that was listed, or not the part of it that is missing. */
function requireFile({ status, headers, host }: HubAnswer, { file, partial, subject }: Receiving): void {
  const linkedSize = headers.get('x-linked-size');
  if (linkedSize !== undefined && Number(linkedSize) !== file.sizeBytes) throw fileChanged(subject, 'other size');
  const linkedDigest = /[0-9a-f]{64}/i.exec(headers.get('x-linked-etag') ?? '')?.[0]?.toLowerCase();
  if (linkedDigest && file.digest && linkedDigest !== file.digest) throw fileChanged(subject, 'other SHA-256');
  const refuse = (reason: string, suggestion?: string) =>
    downloadFailed(subject, `${host} sent ${reason}`, { reason, host, ...(suggestion ? { suggestion } : {}) });
  if (headers.get('content-type')?.startsWith('text/html')) {
    throw refuse('a web page instead of the file', 'see whether a login page or a proxy is in between, then repeat it');
  }
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding !== 'identity') throw refuse(`the file in an encoding that was not asked for (${encoding})`);
  if (status === 206) {
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
    if (Number(start) !== partial.offset) throw refuse('another part of the file than was asked for');
    if (total !== '*' && Number(total) !== file.sizeBytes) throw fileChanged(subject, 'other size');
  } else {
    if (status !== 200) throw refuse(`an answer without the file (status ${status})`);
    const length = headers.get('content-length');
    if (length !== undefined && Number(length) !== file.sizeBytes) throw fileChanged(subject, 'other size');
  }
}
