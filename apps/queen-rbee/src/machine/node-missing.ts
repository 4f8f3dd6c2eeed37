import { LEAST_NODE_JS, RbeeError } from '@rbee/protocol';
import type { MachineFacts } from './inspect-machine.js';

/** Why rbee cannot run on a machine that has no Node.js that fits: what was found there, and how to get one. */
export function nodeMissing(
  code: 'INSTALL_FAILED' | 'HIVE_NOT_INSTALLED',
  node: string,
  { rejected, os }: Pick<MachineFacts, 'rejected' | 'os'>,
): RbeeError {
  const found = rejected.map(({ path, version }) => `${path} (${version})`);
  const what =
    found.length === 0
      ? `Node.js was not found on ${node}: ${LEAST_NODE_JS} or newer is needed`
      : `no Node.js on ${node} is ${LEAST_NODE_JS} or newer: looked at ${found.join(', ')}`;
  const how = os === 'darwin' ? 'brew install node' : 'https://nodejs.org/en/download';
  return new RbeeError(code, what, {
    details: {
      node,
      ...(code === 'INSTALL_FAILED' ? { step: 'node', last_output: [] } : {}),
      needed: `>=${LEAST_NODE_JS}`,
      found: rejected.map(({ path, version }) => ({ path, version })),
    },
    suggestion: `install Node.js there (${how}), or name it: rbee-keeper setup update-node --name ${node} --node-path PATH`,
  });
}
