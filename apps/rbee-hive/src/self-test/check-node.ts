const LEAST = [20, 19] as const;

/** Throws when a version of Node.js is older than what rbee needs. */
export function checkNode(version: string): string {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const fits = major > LEAST[0] || (major === LEAST[0] && minor >= LEAST[1]);
  if (fits) return `Node.js ${version}`;
  throw new Error(`Node.js ${version} is too old: rbee needs ${LEAST.join('.')} or newer`);
}
