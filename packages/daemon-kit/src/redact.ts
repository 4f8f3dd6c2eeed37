const PATTERNS: readonly [RegExp, string][] = [
  [/\bBearer\s+[^\s"',;]+/gi, 'Bearer [REDACTED]'],
  [/\b(api[_-]?key|token|password|secret)(["']?\s*[=:]\s*["']?)[^\s"',;&]+/gi, '$1$2[REDACTED]'],
  [/\beyJ[\w-]+\.[\w-]+\.[\w-]*/g, '[REDACTED]'],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g, '[REDACTED]'],
  [/(\w+:\/\/[^\s:@/]+):[^\s@/]+@/g, '$1:[REDACTED]@'],
  [/\bhf_[A-Za-z0-9]{8,}/g, '[REDACTED]'],
];

/** The text without keys, tokens, passwords and private keys. Fingerprints such as `token:a3f2c1` stay. */
export function redact(text: string): string {
  let clean = text;
  for (const [pattern, replacement] of PATTERNS) {
    clean = clean.replace(pattern, (match: string, ...groups: string[]) =>
      /^token:[0-9a-f]{6}$/.test(match)
        ? match
        : replacement.replace(/\$(\d)/g, (_place, index: string) => groups[Number(index) - 1] ?? ''),
    );
  }
  return clean;
}
