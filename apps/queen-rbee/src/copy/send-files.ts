import type { QueenSettings } from '../config.js';
import type { LocalHiveKey } from '../link/local-hive-key.js';
import type { SendFiles } from '../models/copy-from-node.js';
import type { LiveNode } from '../node/live-node.js';
import type { NodeRegistry } from '../registry/node-registry.js';
import type { CopyEndpoint, RunCopy } from './copy-job.js';

export interface SendFilesParts {
  readonly settings: Pick<QueenSettings, 'hivePort' | 'mockHiveUrl' | 'timeouts'>;
  readonly hiveKey: Pick<LocalHiveKey, 'present'>;
  readonly registry: Pick<NodeRegistry, 'require'>;
  readonly run: RunCopy;
}

/** Sends files between the hives of the queen's nodes. Throws NODE_NOT_FOUND for a node that was removed meanwhile. */
export function filesSender({ settings, hiveKey, registry, run }: SendFilesParts): SendFiles {
  const { hivePort, mockHiveUrl, timeouts } = settings;
  const toEndpoint = async ({ name, link }: LiveNode): Promise<CopyEndpoint> =>
    link.kind === 'local'
      ? { node: name, url: `http://127.0.0.1:${hivePort}`, tokenFile: hiveKey.present }
      : { node: name, record: await registry.require(name) };
  return async ({ source, target, ...work }, signal) => {
    const mockHive = mockHiveUrl === undefined ? undefined : { url: mockHiveUrl, tokenFile: hiveKey.present };
    const ends = { source: await toEndpoint(source), target: await toEndpoint(target) };
    await run({ ...work, ...ends, timeouts, mockHive }, signal);
  };
}
