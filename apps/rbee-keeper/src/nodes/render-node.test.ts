import { describe, expect, it } from '@jest/globals';
import { HOST_KEY, hiveOf, nodeOf } from '../testing/scripted-nodes.js';
import { renderNode } from './render-node.js';

describe('renderNode', () => {
  it('tells all of a node that is well', () => {
    const node = nodeOf('workstation', {
      ssh_user: 'me',
      ssh_port: 2222,
      git_repo_url: 'https://git.example.com/rbee.git',
      git_branch: 'next',
      backends: ['cuda', 'cpu'],
      devices: { cuda: 2, cpu: 1 },
      live: hiveOf('workstation', { workers: 2 }),
    });
    expect(renderNode(node)).toEqual([
      'workstation (workstation.home.arpa)',
      '  Status: reachable',
      '  Last connected: 2030-06-09 12:00:05',
      '  Install path: /home/me/rbee',
      '  User: me',
      '  Port: 2222',
      `  Host key: ${HOST_KEY}`,
      '  Release: branch next of https://git.example.com/rbee.git',
      '  Backends: cuda (2 devices), cpu (1 device)',
      '  Hive: running, version 0.1.0, 2 workers, 15.6 of 31.3 GB of memory free',
    ]);
  });

  it('tells what is wrong with a node that cannot be reached', () => {
    const lines = renderNode(
      nodeOf('attic', {
        status: 'unreachable',
        last_connected_unix: undefined,
        last_error: 'no route to host\u001b[2J',
        backends: [],
        live: hiveOf('attic', { status: 'unreachable', hive: 'unknown', reason: 'the link is down' }),
      }),
    );
    expect(lines).toEqual(
      expect.arrayContaining([
        '  Status: unreachable',
        '  Last connected: never',
        '  Release: sent by this queen',
        '  Backends: not known',
        '  Hive: unknown: the link is down',
        '  Last error: no route to host\ufffd[2J',
      ]),
    );
  });

  it('does not pass off an earlier contact as the present', () => {
    const live = hiveOf('attic', { status: 'unknown', hive: 'unknown', version: undefined });
    const lines = renderNode(nodeOf('attic', { status: 'reachable', live }));
    expect(lines).toContain('  Status: unknown (reachable before)');
    expect(lines).toContain('  Hive: unknown: it has not answered yet');
  });

  it('gives the same reason only once', () => {
    const reason = 'no route to host';
    const live = hiveOf('attic', { status: 'unreachable', hive: 'unknown', reason });
    const lines = renderNode(nodeOf('attic', { status: 'unreachable', last_error: reason, live }));
    expect(lines.slice(-2)).toEqual(['  Hive: unknown', '  Last error: no route to host']);
  });

  it('tells of a hive without SSH only what there is', () => {
    const node = nodeOf('shared', {
      link: 'direct',
      ssh_host: undefined,
      host_key_fingerprint: undefined,
      install_path: undefined,
      hive_url: 'http://192.168.1.30:9200',
      hive_token_file: '/home/me/shared.token',
      devices: {},
    });
    expect(renderNode(node)).toEqual([
      'shared (http://192.168.1.30:9200)',
      '  Status: reachable',
      '  Last connected: 2030-06-09 12:00:05',
      '  Key file: /home/me/shared.token',
      '  Backends: cpu',
    ]);
  });
});
