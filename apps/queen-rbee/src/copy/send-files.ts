import type { QueenSettings } from '../config.js';
import type { SendFiles } from '../models/copy-from-node.js';
import type { LiveNode } from '../node/live-node.js';
import type { NodeRegistry } from '../registry/node-registry.js';
import type { CopyEndpoint, RunCopy } from './copy-job.js';

export interface SendFilesParts {
  readonly settings: Pick<QueenSettings, 'hivePort' | 'hiveTokenFile' | 'mockHiveUrl' | 'timeouts'>;
  readonly registry: Pick<NodeRegistry, 'require'>;
  readonly run: RunCopy;
}

/** Sends files between the hives of the queen's nodes. Throws NODE_NOT_FOUND for a node that was removed meanwhile. */
export function filesSender({ settings, registry, run }: SendFilesParts): SendFiles {
  const { hivePort, hiveTokenFile: tokenFile, mockHiveUrl, timeouts } = settings;
  const toEndpoint = async ({ name, link }: LiveNode): Promise<CopyEndpoint> =>
    link.kind === 'local'
      ? { node: name, url: `http://127.0.0.1:${hivePort}`, tokenFile }
      : { node: name, record: await registry.require(name) };
  return async ({ source, target, ...work }, signal) => {
    const mockHive = mockHiveUrl === undefined ? undefined : { url: mockHiveUrl, tokenFile };
    const ends = { source: await toEndpoint(source), target: await toEndpoint(target) };
    await run({ ...work, ...ends, timeouts, mockHive }, signal);
  };
}
