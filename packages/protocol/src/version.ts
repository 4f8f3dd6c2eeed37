/** Version of every rbee process; they are released together. */
export const VERSION = '0.1.0';

/** Version of the hive's HTTP interface, as reported by its health route. */
export const API_VERSION = 'v1';

/** The oldest Node.js that rbee runs on. */
export const LEAST_NODE_JS = '20.19';

/** Whether rbee runs on this version of Node.js, for example `20.19.0`; not when it is none. */
export function runsOnNodeJs(version: string): boolean {
  const [major = Number.NaN, minor = Number.NaN] = version.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = LEAST_NODE_JS.split('.').map(Number);
  return major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

/**
 * Whether two rbee versions may work together: same major version and, while that is 0, same minor version.
 * Anything that is not `major.minor.patch`, perhaps with a pre-release or build suffix, is incompatible.
 */
export function isCompatibleVersion(a: string, b: string): boolean {
  const [left, right] = [a, b].map((version) => /^(\d+)\.(\d+)\.\d+(?:[-+][\w.+-]+)?$/.exec(version));
  if (!left || !right) return false;
  return left[1] === right[1] && (left[1] !== '0' || left[2] === right[2]);
}
