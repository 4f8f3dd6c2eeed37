import { createHash } from 'node:crypto';

const HIDDEN = '[REDACTED]';
const HIDDEN_BYTES = Buffer.from(HIDDEN);
const BACKSLASH = 0x5c;

/** A shorter value may well be part of a text that has nothing to do with it. */
const LEAST_KNOWN_CHARS = 8;

interface KnownSecret {
  readonly forms: readonly Buffer[];
  holders: number;
}

/** By the SHA-256 of the value. */
const known = new Map<string, KnownSecret>();
/** Longest first: a key that is part of another one must not leave the rest of that. */
let knownForms: readonly Buffer[] = [];

/**
 * From now on `redact` hides this value wherever it stands, as it is, escaped for JSON or for a URL; values of less than 8
 * characters are left to the patterns. The function that is returned ends that, and overwrites what was kept.
 */
export function rememberSecret(value: string | Uint8Array): () => void {
  const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value);
  const text = bytes.toString();
  if (text.length < LEAST_KNOWN_CHARS) return () => undefined;
  const id = createHash('sha256').update(bytes).digest('hex');
  const secret = known.get(id) ?? { forms: toForms(text), holders: 0 };
  secret.holders += 1;
  known.set(id, secret);
  orderForms();
  let held = true;
  return () => {
    if (!held) return;
    held = false;
    secret.holders -= 1;
    if (secret.holders > 0) return;
    known.delete(id);
    orderForms();
    for (const form of secret.forms) form.fill(0);
  };
}

function toForms(text: string): Buffer[] {
  const toJsonText = (raw: string) => JSON.stringify(raw).slice(1, -1);
  const escaped = toJsonText(text);
  // A log line quotes what a peer said, which may quote it itself.
  return [...new Set([text, escaped, toJsonText(escaped), encodeURIComponent(text)])].map((form) => Buffer.from(form));
}

function orderForms(): void {
  knownForms = [...known.values()].flatMap(({ forms }) => forms).sort((a, b) => b.length - a.length);
}

/** Bytes are compared, so that no known secret has to be kept as a string, which cannot be overwritten. */
function hideKnown(text: string): string {
  if (knownForms.length === 0) return text;
  const bytes = Buffer.from(text);
  let clean = bytes;
  for (const form of knownForms) clean = hideForm(clean, form);
  return clean === bytes ? text : clean.toString();
}

/** A line of JSON stays JSON: no half of an escape is left before or behind what is hidden. */
function hideForm(text: Buffer<ArrayBuffer>, form: Buffer): Buffer<ArrayBuffer> {
  let at = text.indexOf(form);
  if (at < 0) return text;
  const parts: Buffer[] = [];
  let begin = 0;
  for (; at >= 0; at = text.indexOf(form, begin)) {
    const start = countBackslashes(text, at) % 2 === 1 ? at - 1 : at;
    parts.push(text.subarray(begin, Math.max(begin, start)), HIDDEN_BYTES);
    const end = at + form.length;
    const following = text[end] ?? 0;
    begin = countBackslashes(form, form.length) % 2 === 1 && following > 0x20 && following < 0x7f ? end + 1 : end;
  }
  return Buffer.concat([...parts, text.subarray(begin)]);
}

function countBackslashes(bytes: Buffer, end: number): number {
  let count = 0;
  while (bytes[end - count - 1] === BACKSLASH) count += 1;
  return count;
}

/** What every secret has in it or beside it; the patterns pass over a text without any of these. */
const SUSPICIOUS = /bearer|key|token|pass|secret|eyj|:\/\/|hf_/i;

const NAME = '(?:api[_-]?key|token|password|passwd|passphrase|secret)';
/** The inside of a text in quotes; these are escaped, and found as group 2, where JSON stands within JSON. */
const QUOTED = String.raw`((?:(?!\2)(?:\\.|[^\\"]))+)(?:\2)?`;

/** The name of a field whose whole value is a secret. */
const SECRET_FIELD = new RegExp(`${NAME}$`, 'i');

/** `"api_key":"…"` and, with escaped quotes, JSON within a JSON string. A number becomes a text, so that JSON stays JSON. */
const JSON_TEXT = new RegExp(String.raw`(${NAME}(\\*")\s*:\s*\2)${QUOTED}`, 'gi');
const JSON_NUMBER = new RegExp(String.raw`(${NAME}(\\?")\s*:\s*)-?\d[\d.eE+-]*`, 'gi');
/** `api_key=…` and `password: …`. A quote before a separator of JSON is the end of the JSON string around it. */
const PLAIN_QUOTED = new RegExp(String.raw`(${NAME}'?\s*[=:]\s*(\\*")(?![,}\]:]))${QUOTED}`, 'gi');
const PLAIN_TICKED = new RegExp(String.raw`(${NAME}'?\s*[=:]\s*')(?:[^'"\\]|\\[^"])+`, 'gi');
const PLAIN = new RegExp(String.raw`(${NAME}'?\s*[=:]\s*)(?:[^\s"'&\\]|\\[^"])(?:[^\s"&\\]|\\[^"])*`, 'gi');

const WHOLE: readonly [RegExp, string][] = [
  [/\bBearer\s+(?:[^\s"\\]|\\[^"])+/gi, 'Bearer [REDACTED]'],
  [/(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*/g, '[REDACTED]'],
  // A block that was cut off ends with the text that holds it.
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[^"]*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\\*")|$)/g, '[REDACTED]'],
  [/(:\/\/[^\s:@/"\\]*):[^\s/"\\]+@/g, '$1:[REDACTED]@'],
  [/\bhf_[A-Za-z0-9]{8,}/g, '[REDACTED]'],
];

/**
 * The text without keys, tokens, passwords and private keys: those that are known, and what looks like one. Fingerprints
 * such as `token:a3f2c1` stay, and a line of JSON stays JSON. Meant for every log line: a text in which nothing looks like
 * a secret costs one search, and one for each known secret.
 */
export function redact(text: string): string {
  const unknown = hideKnown(text);
  if (!SUSPICIOUS.test(unknown)) return unknown;
  let clean = unknown;
  for (const [pattern, replacement] of WHOLE) clean = clean.replace(pattern, replacement);
  return clean
    .replace(JSON_TEXT, hideQuoted)
    .replace(JSON_NUMBER, '$1$2[REDACTED]$2')
    .replace(PLAIN_QUOTED, hideQuoted)
    .replace(PLAIN_TICKED, '$1[REDACTED]')
    .replace(PLAIN, (match: string, name: string) => (isFingerprint(match) ? match : `${name}[REDACTED]`));
}

function hideQuoted(match: string, name: string, quote: string, value: string): string {
  return isFingerprint(value) ? match : `${name}[REDACTED]${quote}`;
}

function isFingerprint(text: string): boolean {
  return /^token:[0-9a-f]{6}[.,;:)\]}]*$/.test(text);
}

/** The same value with every text in its objects and lists redacted. What is neither, such as an error, stays as it is. */
export function redactFields<T>(value: T): T {
  return redactField(value, '') as T;
}

function redactField(value: unknown, name: string): unknown {
  if (typeof value === 'string') {
    const secret = SECRET_FIELD.test(name) && value !== '' && !isFingerprint(value);
    return secret ? HIDDEN : redact(value);
  }
  if (Array.isArray(value)) return value.map((item) => redactField(item, name));
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, redactField(field, key)]));
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  // An object of another realm has another Object.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
