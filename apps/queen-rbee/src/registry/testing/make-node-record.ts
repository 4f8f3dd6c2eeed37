import { DEFAULT_HIVE_PORT } from '@rbee/protocol';
import type { NodeRecord } from '../node-record.js';

/** A node of which nothing is known but what a test says. */
export function makeNodeRecord(more: Partial<NodeRecord> = {}): NodeRecord {
  return {
    name: 'workstation',
    ssh: undefined,
    direct: undefined,
    hostKeys: {},
    gitRepoUrl: undefined,
    gitBranch: 'main',
    installPath: '/nowhere/rbee',
    nodePath: undefined,
    hivePort: DEFAULT_HIVE_PORT,
    backends: [],
    devices: {},
    status: 'unknown',
    lastConnectedUnix: undefined,
    lastError: undefined,
    ownedHive: undefined,
    ...more,
  };
}
