import { RbeeError } from '@rbee/protocol';

/** An answer that is no success, as far as it matters. */
export interface Refusal {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Host and port that gave it. */
  readonly host: string;
  /** Whether it came from the hub itself, not from a host that it sent us to. */
  readonly fromHub: boolean;
}

/** What was asked for. */
export interface Subject {
  /** Base address of the hub. */
  readonly endpoint: string;
  readonly repo: string;
  /** Left out where the list of files was asked for. */
  readonly path?: string | undefined;
  /** Whether a token could be sent along. */
  readonly hasToken: boolean;
}

/** Longest wait that a hub can impose. */
const MAX_RETRY_AFTER_MS = 60_000;

/** The error that a refused request means: 404, 401 and 403 of the hub are final, everything else may pass. */
export function toRefusedError(refusal: Refusal, subject: Subject, now: number): RbeeError {
  const { status, headers, host, fromHub } = refusal;
  // A mirror may send us to the hub that it mirrors, which is known by this header.
  if (fromHub || headers.has('x-error-code')) {
    if (status === 404) return notFound(subject);
    if (status === 401 || status === 403) return accessDenied(refusal, subject);
  }
  const retryAfter = readRetryAfter(headers.get('retry-after'), now);
  const why = status === 429 ? 'too many requests' : `status ${status}`;
  return downloadFailed(subject, `${host} refused it: ${why}`, {
    ...{ reason: why, host, http_status: status },
    ...(retryAfter === undefined ? {} : { retry_after_ms: retryAfter }),
    suggestion:
      status === 429
        ? 'wait some minutes, then repeat the command; with a token (HF_TOKEN) the hub allows more requests'
        : 'repeat the command later: what was received is kept',
  });
}

/** The error that a broken, refused or impossible connection means; anything else is given back as it is. */
export function toNetworkError(cause: unknown, host: string, subject: Subject): unknown {
  const code = codeOf(cause);
  if (code === undefined) return cause;
  const [reason, suggestion] = NETWORK_FAULTS[code] ?? [code.toLowerCase().replaceAll('_', ' '), TRY_AGAIN];
  return downloadFailed(subject, `${host}: ${reason} (${code})`, { reason, host, cause: code, suggestion }, cause);
}

/** DOWNLOAD_FAILED, which another attempt may mend. `reason` in the details is a short text for narration. */
export function downloadFailed(
  { repo, path }: Subject,
  why: string,
  { suggestion, ...details }: { reason: string; suggestion?: string; [fact: string]: unknown },
  cause?: unknown,
): RbeeError {
  const what =
    path === undefined ? `the files of hf:${repo} could not be listed` : `${path} of hf:${repo} did not come`;
  return new RbeeError('DOWNLOAD_FAILED', `${what}: ${why}`, {
    details: { model: `hf:${repo}`, ...(path === undefined ? {} : { file: path }), ...details },
    suggestion: suggestion ?? TRY_AGAIN,
    cause,
  });
}

/** The file on the hub is not the one that was listed; a new listing may help. */
export function fileChanged(subject: Subject, what: string): RbeeError {
  return downloadFailed(subject, `the file has changed on the hub since it was listed (${what})`, {
    ...{ reason: 'the file has changed on the hub', changed: true },
    suggestion: 'repeat the command: it begins with the new file',
  });
}

function notFound({ endpoint, repo, path }: Subject): RbeeError {
  const what = path === undefined ? `there is no model hf:${repo}` : `hf:${repo} has no file ${path} any more`;
  return new RbeeError('MODEL_NOT_FOUND', `${what} on ${hostOf(endpoint)}`, {
    details: { model: `hf:${repo}`, ...(path === undefined ? {} : { file: path }), http_status: 404 },
    suggestion:
      path === undefined
        ? `check the spelling, letter case included, on the hub: ${endpoint}/${repo}`
        : `see which files it has: rbee-keeper models variants hf:${repo}`,
  });
}

/** The hub answers 401 also for a model that does not exist, as long as nobody has shown a token. */
function accessDenied({ status, headers }: Refusal, { endpoint, repo, hasToken }: Subject): RbeeError {
  const gated = headers.get('x-error-code') === 'GatedRepo';
  const page = `${endpoint}/${repo}`;
  const withToken = hasToken ? 'with the token that this node has' : 'without a token';
  const message = gated
    ? `hf:${repo} is given only to users who have accepted its licence`
    : `${hostOf(endpoint)} does not give hf:${repo} ${withToken}: it is private, or there is none of this name`;
  const setToken = 'set HF_TOKEN for the hive (or write the token to ~/.cache/huggingface/token on the node)';
  const suggestion = gated
    ? `accept the licence on ${page}, then ${hasToken ? 'repeat the command; the token (HF_TOKEN, or its file) must be of the same user' : setToken}`
    : hasToken
      ? `check the spelling on ${page}, and that the token in HF_TOKEN or its file is valid and may read this model`
      : `check the spelling on ${page}; if it is private, ${setToken}`;
  return new RbeeError('MODEL_ACCESS_DENIED', message, {
    details: { model: `hf:${repo}`, http_status: status, ...(gated ? { gated } : {}) },
    suggestion,
  });
}

function readRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS) : undefined;
}

function hostOf(endpoint: string): string {
  return new URL(endpoint).host;
}

/** The code of a network error, where several addresses were tried that of the last one. */
function codeOf(error: unknown): string | undefined {
  const { code, cause, errors } = (error ?? {}) as NodeJS.ErrnoException & { errors?: readonly unknown[] };
  if (code) return code;
  if (errors?.length) return codeOf(errors.at(-1));
  return cause === undefined ? undefined : codeOf(cause);
}

const TRY_AGAIN = 'check the network of this node, then repeat the command: what was received is kept';
const UNREACHABLE = 'check the network of this node; behind a proxy, set HTTPS_PROXY; a mirror is named by HF_ENDPOINT';
const CERTIFICATE =
  'the clock of this node may be wrong, or a proxy may read along: give its certificate in NODE_EXTRA_CA_CERTS';

/** What went wrong, and what to do. */
const NETWORK_FAULTS: Readonly<Record<string, readonly [string, string]>> = {
  ENOTFOUND: ['no such host name (DNS)', UNREACHABLE],
  EAI_AGAIN: ['the name server does not answer (DNS)', UNREACHABLE],
  ECONNREFUSED: ['connection refused', UNREACHABLE],
  ENETUNREACH: ['no network', UNREACHABLE],
  EHOSTUNREACH: ['no way to this host', UNREACHABLE],
  ETIMEDOUT: ['no answer in time', UNREACHABLE],
  UND_ERR_CONNECT_TIMEOUT: ['no connection in time', UNREACHABLE],
  UND_ERR_HEADERS_TIMEOUT: ['no answer in time', TRY_AGAIN],
  UND_ERR_BODY_TIMEOUT: ['no more bytes came', TRY_AGAIN],
  UND_ERR_SOCKET: ['the connection broke', TRY_AGAIN],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: ['the connection broke', TRY_AGAIN],
  ECONNRESET: ['the connection broke', TRY_AGAIN],
  EPIPE: ['the connection broke', TRY_AGAIN],
  CERT_HAS_EXPIRED: ['its certificate has expired', CERTIFICATE],
  CERT_NOT_YET_VALID: ['its certificate is not valid yet', CERTIFICATE],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['its certificate is not trusted', CERTIFICATE],
  SELF_SIGNED_CERT_IN_CHAIN: ['its certificate is not trusted', CERTIFICATE],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['its certificate is not trusted', CERTIFICATE],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['its certificate is not trusted', CERTIFICATE],
  ERR_TLS_CERT_ALTNAME_INVALID: ['its certificate is for another host', CERTIFICATE],
};
