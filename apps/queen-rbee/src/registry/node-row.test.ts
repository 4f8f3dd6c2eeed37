import { expect, it } from '@jest/globals';
import { nodeRowSchema } from '@rbee/protocol';
import type { NodeRecord } from './node-record.js';
import { toNodeRow } from './node-row.js';

const record: NodeRecord = {
  name: 'workstation',
  ssh: { host: 'workstation.home.arpa', port: undefined, user: 'user', keyPath: undefined },
  direct: undefined,
  hostKeys: {},
  gitRepoUrl: undefined,
  gitBranch: 'main',
  installPath: '/home/user/rbee',
  nodePath: undefined,
  hivePort: 9200,
  backends: ['cpu'],
  devices: { cpu: 1 },
  status: 'reachable',
  lastConnectedUnix: 1_900_000_000,
  lastError: undefined,
  ownedHive: undefined,
};

it('is what the schema of the wire says', () => {
  const row = toNodeRow(record);
  expect(nodeRowSchema.parse(JSON.parse(JSON.stringify(row)))).toEqual(JSON.parse(JSON.stringify(row)));
  expect(row).toMatchObject({
    node_name: 'workstation',
    link: 'ssh',
    install_path: '/home/user/rbee',
    hive_port: 9200,
  });
  expect(row.host_key_fingerprint).toBeUndefined();
});

it.each([
  ['that was given', 2222, { '[workstation]:2222': 'ssh-ed25519 AAAA' }, 2222],
  ['that ssh_config says', undefined, { '[gate]:22': 'ssh-ed25519 AAAA', '[fe80::1]:2222': 'ssh-ed25519 AAAA' }, 2222],
  ['that is usual', undefined, {}, 22],
])('shows the port %s', (_which, port, hostKeys, shown) => {
  const ssh = { host: 'workstation', port, user: undefined, keyPath: undefined };
  expect(toNodeRow({ ...record, ssh, hostKeys }).ssh_port).toBe(shown);
});

it('shows a node without SSH by the address of its hive', () => {
  const direct = { url: 'http://10.0.0.2:9200', tokenFile: '/etc/rbee/key' };
  const row = toNodeRow({ ...record, ssh: undefined, direct });
  expect(row).toMatchObject({ link: 'direct', hive_url: direct.url, hive_token_file: direct.tokenFile });
  expect([row.ssh_host, row.install_path, row.git_branch]).toEqual([undefined, undefined, undefined]);
});

it('shows the fingerprint of the node itself, as ssh-keygen does, not of the hosts on the way', () => {
  // A key that is publicly known, with the fingerprint that ssh-keygen -l prints of it.
  const key = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
  const row = toNodeRow({ ...record, hostKeys: { '[gate]:22': 'ssh-ed25519 AAAA', '[workstation]:22': key } });
  expect(row.host_key_fingerprint).toBe('SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU');
});

it.each([
  ['https://git.example/rbee.git', 'https://git.example/rbee.git'],
  ['https://user:hunter2@git.example/rbee.git', 'https://user:[REDACTED]@git.example/rbee.git'],
  ['https://user:hun@ter2@git.example/rbee.git', 'https://user:[REDACTED]@git.example/rbee.git'],
  ['https://ghp_0123456789@git.example/rbee.git', 'https://[REDACTED]@git.example/rbee.git'],
  ['http://:hunter2@git.example/rbee.git', 'http://:[REDACTED]@git.example/rbee.git'],
  ['https://git.example/rbee.git?token=hunter2', 'https://git.example/rbee.git?token=[REDACTED]'],
  ['ssh://git@git.example/rbee.git', 'ssh://git@git.example/rbee.git'],
  ['ssh://git:hunter2@git.example/rbee.git', 'ssh://git:[REDACTED]@git.example/rbee.git'],
  ['git@git.example:me/rbee.git', 'git@git.example:me/rbee.git'],
  ['/srv/rbee.git', '/srv/rbee.git'],
])('shows %s as %s', (url, shown) => {
  expect(toNodeRow({ ...record, gitRepoUrl: url }).git_repo_url).toBe(shown);
});
