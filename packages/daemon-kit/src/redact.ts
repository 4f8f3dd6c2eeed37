/** What every secret has in it or beside it; a text without any of these is returned as it is. */
const SUSPICIOUS = /bearer|key|token|pass|secret|eyj|:\/\/|hf_/i;

const NAME = '(?:api[_-]?key|token|password|passwd|passphrase|secret)';
/** The inside of a text in quotes; these are escaped, and found as group 2, where JSON stands within JSON. */
const QUOTED = String.raw`((?:(?!\2)(?:\\.|[^\\"]))+)(?:\2)?`;

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
 * The text without keys, tokens, passwords and private keys. Fingerprints such as `token:a3f2c1` stay, and a line of
 * JSON stays JSON. Meant for every log line: a text in which nothing looks like a secret costs one search.
 */
export function redact(text: string): string {
  if (!SUSPICIOUS.test(text)) return text;
  let clean = text;
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
