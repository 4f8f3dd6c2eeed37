import { LEAST_NODE_JS, runsOnNodeJs } from '@rbee/protocol';

/** Throws when a version of Node.js is older than what rbee needs. */
export function checkNode(version: string): string {
  if (runsOnNodeJs(version)) return `Node.js ${version}`;
  throw new Error(`Node.js ${version} is too old: rbee needs ${LEAST_NODE_JS} or newer`);
}
