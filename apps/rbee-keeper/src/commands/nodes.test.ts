import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import { HOST_KEY, hang, hiveOf, nodeOf, said } from '../testing/scripted-nodes.js';
import { ScriptedQueen } from '../testing/scripted-queen.js';
import { makeFolder, removeFolders, runKeeper, startKeeper } from '../testing/start-keeper.js';

let queen: ScriptedQueen;

beforeEach(async () => {
  queen = await ScriptedQueen.start();
});

afterEach(async () => {
  await queen.stop();
  removeFolders();
});

const run = (...args: string[]) => runKeeper(args, { queenUrl: queen.url });

const ADD = ['setup', 'add-node', '--name', 'workstation'];
const ADD_SSH = [...ADD, '--ssh-host', 'workstation.home.arpa'];

/** A home folder with a key. */
function homeWithKey(): string {
  const home = makeFolder();
  mkdirSync(join(home, '.ssh'));
  writeFileSync(join(home, '.ssh', 'id_ed25519'), 'key');
  writeFileSync(join(home, 'hive.token'), 'token\n');
  return home;
}

describe('setup add-node', () => {
  it('shows what is done, the result and the host key as results', async () => {
    const { code, stdout, stderr } = await run(...ADD_SSH);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.split('\n')).toEqual([
      '[queen-rbee] checking SSH access to workstation.home.arpa',
      "[queen-rbee] SSH access works; node 'workstation' is saved",
      `[queen-rbee] host key of workstation: ${HOST_KEY}`,
      '',
    ]);
    expect(queen.nodes.added).toEqual([{ node_name: 'workstation', ssh_host: 'workstation.home.arpa' }]);
    expect(queen.released).toBe(1);
  });

  it('says nothing twice that the queen has narrated', async () => {
    queen.nodes.change = async (node_name, stream) => {
      stream.send(said(`host key ${HOST_KEY} is pinned`));
      stream.send(said('SSH access works; saved'));
      stream.send({ type: 'end', success: true, message: 'saved', node_name, host_key_fingerprint: HOST_KEY });
    };
    const { stdout } = await run(...ADD_SSH);
    expect(stdout).toBe(`[queen-rbee] host key ${HOST_KEY} is pinned\n[queen-rbee] SSH access works; saved\n`);
  });

  it('is one object with --json, and narration goes aside', async () => {
    const { code, stdout, stderr } = await run(...ADD_SSH, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      success: true,
      message: "SSH access works; node 'workstation' is saved",
      node_name: 'workstation',
      host_key_fingerprint: HOST_KEY,
    });
    expect(stderr).toBe('[queen-rbee] checking SSH access to workstation.home.arpa\n');
  });

  it('sends every flag', async () => {
    const home = homeWithKey();
    const flags = {
      '--ssh-port': '2222',
      '--ssh-user': 'me',
      '--ssh-key': '~/.ssh/id_ed25519',
      '--host-key': HOST_KEY,
      '--git-repo': 'git@git.example.com:me/rbee.git',
      '--git-branch': 'next',
      '--install-path': '~/rbee here',
      '--node-path': '/opt/node/bin/node',
      '--hive-port': '9300',
      '--backends': 'cuda,cpu',
      '--devices': 'cuda=2,cpu=1',
    };
    const { code } = await runKeeper([...ADD_SSH, ...Object.entries(flags).flat()], { queenUrl: queen.url, home });
    expect(code).toBe(0);
    expect(queen.nodes.added).toEqual([
      {
        node_name: 'workstation',
        ssh_host: 'workstation.home.arpa',
        ssh_port: 2222,
        ssh_user: 'me',
        ssh_key_path: join(home, '.ssh', 'id_ed25519'),
        host_key_fingerprint: HOST_KEY,
        git_repo_url: 'git@git.example.com:me/rbee.git',
        git_branch: 'next',
        install_path: '~/rbee here',
        node_path: '/opt/node/bin/node',
        hive_port: 9300,
        backends: ['cuda', 'cpu'],
        devices: { cuda: 2, cpu: 1 },
      },
    ]);
  });

  it('registers a hive without SSH', async () => {
    const home = homeWithKey();
    const args = [...ADD, '--hive-url', 'http://192.168.1.30:9200', '--hive-token-file', 'hive.token'];
    expect(await runKeeper(args, { queenUrl: queen.url, home })).toMatchObject({ code: 0 });
    expect(queen.nodes.added).toMatchObject([
      { hive_url: 'http://192.168.1.30:9200', hive_token_file: join(home, 'hive.token') },
    ]);
  });

  it.each([
    ['~/.ssh/missing', 'does not exist'],
    ['missing', 'does not exist'],
    ['/nowhere/key', 'does not exist'],
    ['~/.ssh', 'is a folder'],
    ['~', 'is a folder'],
  ])('asks nothing of a queen when the key is %s', async (typed, why) => {
    const result = await runKeeper([...ADD_SSH, '--ssh-key', typed], { queenUrl: queen.url, home: homeWithKey() });
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toContain(`[rbee-keeper] Error: the SSH key ${typed} ${why}\n  code: SSH_KEY_NOT_FOUND\n`);
    expect(result.stderr).toContain('--ssh-key');
    expect(queen.leases.size + queen.released).toBe(0);
  });

  it('finds a missing file of a hive key', async () => {
    const args = [...ADD, '--hive-url', 'http://192.168.1.30:9200', '--hive-token-file', '~/missing'];
    const { code, stderr } = await run(...args);
    expect(code).toBe(1);
    expect(stderr).toContain('--hive-token-file: ~/missing does not exist');
    expect(queen.nodes.added).toEqual([]);
  });

  it('leaves files to a queen on another machine, which alone can know them', async () => {
    const elsewhere = { queenUrl: 'http://queen.invalid:8080' };
    const checked = await runKeeper([...ADD_SSH, '--ssh-key', '~/key', '--no-spawn'], elsewhere);
    expect(checked.stderr).toContain('--ssh-key: must be an absolute path on the machine of the queen');
  });

  it.each<[string[], string, string[]]>([
    [['--ssh-host', 'a b'], 'INVALID_REQUEST', ['--ssh-host: must be a host name or an address']],
    [['--ssh-host', 'a=b', '--ssh-port', '0'], 'INVALID_REQUEST', ['--ssh-host', '--ssh-port']],
    [['--ssh-host', 'a', '--ssh-port', '70000'], 'INVALID_REQUEST', ['--ssh-port: must be at most 65535']],
    [['--ssh-host', 'a', '--ssh-port', '2.5'], 'INVALID_REQUEST', ['--ssh-port: must be a whole number']],
    [['--ssh-host', 'a', '--host-key', 'MD5:00'], 'INVALID_REQUEST', ['--host-key: must be a fingerprint']],
    [['--ssh-host', 'a', '--git-repo', 'ext::sh -c x'], 'INVALID_REQUEST', ['--git-repo: must be a git address']],
    [['--ssh-host', 'a', '--install-path', 'rbee'], 'INVALID_PATH', ['--install-path: must be an absolute path']],
    [['--ssh-host', 'a', '--backends', 'cuda,abacus'], 'INVALID_BACKEND', ['--backends: must be one of cpu, cuda']],
    [['--ssh-host', 'a', '--devices', 'abacus=1'], 'INVALID_REQUEST', ['--devices: each key must be one of cpu, cuda']],
    [['--ssh-host', 'a', '--devices', 'cuda=9999'], 'INVALID_REQUEST', ['--devices: must be at most 1024']],
    [['--ssh-host', 'a', '--hive-port', '80'], 'INVALID_REQUEST', ['--hive-port: must be at least 1024']],
    [['--hive-url', 'http://10.0.0.2:9200'], 'INVALID_REQUEST', ['--hive-token-file: is required with --hive-url']],
    [['--hive-url', 'https://10.0.0.2'], 'INVALID_REQUEST', ['--hive-url: must be an http:// address']],
    [
      ['--ssh-host', 'a', '--hive-url', 'http://10.0.0.2:9200'],
      'INVALID_REQUEST',
      ['--hive-url: a node is reached over SSH (--ssh-host) or at its hive (--hive-url), not both'],
    ],
  ])('refuses %j before a queen is asked', async (flags, code, says) => {
    const result = await run(...ADD, ...flags);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toContain(`code: ${code}`);
    for (const text of says) expect(result.stderr).toContain(text);
    expect(result.stderr).toContain('rbee-keeper setup add-node --help');
    expect(result.stderr).not.toMatch(/ssh_host|hive_url|node_name/);
    expect(queen.leases.size + queen.released).toBe(0);
  });

  it.each(['a@b', 'localhost', '-x'])('refuses the name %s', async (name) => {
    const { code, stderr } = await run('setup', 'add-node', `--name=${name}`, '--ssh-host', 'a');
    expect(code).toBe(1);
    expect(stderr).toContain('--name: ');
  });

  it('shows every attempt, then the failure with its facts and a hint', async () => {
    queen.nodes.change = async (_node, stream) => {
      stream.send(said('checking SSH access to unreachable.home.arpa'));
      stream.send(said('attempt 2/3 after 200 ms: timed out'));
      throw new RbeeError('SSH_CONNECTION_TIMEOUT', 'no SSH connection after 3 attempts (timeout)', {
        details: { host: 'unreachable.home.arpa', port: 22, timeout_ms: 10_000, attempts: 3 },
      });
    };
    const { code, stdout, stderr } = await run(...ADD, '--ssh-host', 'unreachable.home.arpa');
    expect(code).toBe(1);
    expect(stdout).toContain('[queen-rbee] attempt 2/3 after 200 ms: timed out\n');
    expect(stderr.split('\n')).toEqual([
      '[queen-rbee] Error: no SSH connection after 3 attempts (timeout)',
      '  code: SSH_CONNECTION_TIMEOUT',
      '  host: unreachable.home.arpa',
      '  port: 22',
      '  timeout (ms): 10000',
      '  attempts: 3',
      '',
      'Check that the machine is on and its SSH server runs: ping unreachable.home.arpa',
      '',
    ]);
  });

  it('is told of a taken name before anything was narrated', async () => {
    queen.nodes.change = async () => {
      throw new RbeeError('NODE_ALREADY_EXISTS', 'there is a node workstation already', {
        details: { node: 'workstation' },
      });
    };
    const { code, stderr } = await run(...ADD_SSH);
    expect(code).toBe(1);
    expect(stderr).toContain('rbee-keeper setup update-node --name workstation');
    expect(stderr).toContain('rbee-keeper setup remove-node --name workstation');
  });

  it('does not take a connection that breaks off for a success', async () => {
    queen.nodes.change = async (node, stream, signal) => {
      const hanging = hang(node, stream, signal);
      setImmediate(() => queen.cut());
      await hanging;
    };
    const { code, stderr } = await run(...ADD_SSH);
    expect(code).toBe(1);
    expect(stderr).toContain('code: QUEEN_UNREACHABLE');
    expect(stderr).toContain('rbee-keeper setup list-nodes');
  });

  it('gives up on Ctrl+C, and the queen learns of it', async () => {
    let isGone: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => {
      isGone = resolve;
    });
    queen.nodes.change = async (node, stream, signal) => {
      signal.addEventListener('abort', () => isGone());
      await hang(node, stream, signal);
    };
    const running = startKeeper(ADD_SSH, { queenUrl: queen.url, input: '' });
    await running.stdout.waitFor(/begun/);
    running.signal();
    expect(await running.code).toBe(130);
    expect(running.stderr.text).toBe('Canceled.\n');
    await gone;
    expect(queen.released).toBe(1);
  });
});

describe('setup update-node', () => {
  it('sends what is to be changed, and nothing else', async () => {
    const { code } = await run('setup', 'update-node', '--name', 'workstation', '--ssh-port', '2222');
    expect(code).toBe(0);
    expect(queen.nodes.updated).toEqual([{ node_name: 'workstation', ssh_port: 2222 }]);
  });

  it('takes an empty list for none', async () => {
    await run('setup', 'update-node', '--name', 'workstation', '--backends', '', '--devices', '');
    expect(queen.nodes.updated).toEqual([{ node_name: 'workstation', backends: [], devices: {} }]);
  });
});

describe('setup list-nodes', () => {
  it('has a block for each', async () => {
    queen.nodes.nodes = [nodeOf('attic'), nodeOf('workstation')];
    const { code, stdout } = await run('setup', 'list-nodes');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Registered rbee-hive nodes:\n\nattic \(attic\.home\.arpa\)\n {2}Status: reachable\n/);
    expect(stdout).toMatch(/\n\nworkstation \(workstation\.home\.arpa\)\n/);
  });

  it('suggests the next command when there are none', async () => {
    const { code, stdout, stderr } = await run('setup', 'list-nodes');
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'No nodes are registered.\n' });
    expect(stderr).toContain('rbee-keeper setup add-node');
  });

  it('lists them for programs', async () => {
    queen.nodes.nodes = [nodeOf('attic')];
    expect(JSON.parse((await run('setup', 'list-nodes', '--json')).stdout)).toEqual({ nodes: [nodeOf('attic')] });
  });
});

describe('setup remove-node', () => {
  it('confirms it', async () => {
    const { code, stdout } = await run('setup', 'remove-node', '--name', 'workstation');
    expect({ code, stdout }).toEqual({ code: 0, stdout: "[queen-rbee] node 'workstation' is removed\n" });
    expect(queen.nodes.removed).toEqual(['workstation']);
  });

  it('fails for a node that is not known', async () => {
    const { code, stdout, stderr } = await run('setup', 'remove-node', '--name', 'attic');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toContain('there is no node attic');
  });
});

describe('setup install', () => {
  it('shows the stages, and a line per 10 % of the upload', async () => {
    const { code, stdout, stderr } = await run('setup', 'install', '--node', 'workstation');
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      '[queen-rbee] packing release 0.1.0-0123456789ab',
      '[queen-rbee] checking the release on workstation',
      '[queen-rbee] workstation now uses release 0.1.0-0123456789ab (4.2 s)',
      '',
    ]);
    const percents = [...stderr.matchAll(/uploading (\d+) %/g)].map(([, percent]) => Number(percent));
    expect(percents).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    expect(queen.nodes.installed).toEqual([{ node_name: 'workstation', service: false }]);
  });

  it('shows a bar on a terminal', async () => {
    const args = ['setup', 'install', '--node', 'workstation', '--service'];
    const running = startKeeper(args, { queenUrl: queen.url, terminal: 'both', input: '' });
    expect(await running.code).toBe(0);
    expect(running.stderr.text).toMatch(/uploading .*█+.*░+.* 50 % .*50\.0 of 100\.0 MB, 25\.0 MB\/s, 2 s left/);
    expect(running.stderr.screen).toBe('');
    expect(queen.nodes.installed).toEqual([{ node_name: 'workstation', service: true }]);
  });

  it('says the result once when the queen has narrated it', async () => {
    queen.nodes.install = async (node_name, stream) => {
      stream.send(said('workstation uses release r-1 now (2 s)', 'install_done'));
      stream.send({ type: 'end', node_name, duration_ms: 2000, release: 'r-1', unchanged: false });
    };
    const { stdout } = await run('setup', 'install', '--node', 'workstation');
    expect(stdout).toBe('[queen-rbee] workstation uses release r-1 now (2 s)\n');
  });

  it('says when there was nothing to do', async () => {
    queen.nodes.install = async (node_name, stream) => {
      stream.send({ type: 'end', node_name, duration_ms: 300, release: 'r', unchanged: true });
    };
    const { stdout } = await run('setup', 'install', '--node', 'workstation');
    expect(stdout).toBe('[queen-rbee] workstation has release r already (300 ms)\n');
    const { stdout: json } = await run('setup', 'install', '--node', 'workstation', '--json');
    expect(JSON.parse(json)).toEqual({ node_name: 'workstation', duration_ms: 300, release: 'r', unchanged: true });
  });

  it('shows the last lines of what failed', async () => {
    queen.nodes.install = async () => {
      throw new RbeeError('INSTALL_FAILED', 'building rbee on workstation failed: no space left on device', {
        details: { node: 'workstation', step: 'build', last_output: ['ENOSPC', 'no space left on device'] },
      });
    };
    const { code, stderr } = await run('setup', 'install', '--node', 'workstation');
    expect(code).toBe(1);
    expect(stderr).toContain('  step: build\n');
    expect(stderr).toContain('  last output:\n    ENOSPC\n    no space left on device\n');
    expect(stderr).toContain('rbee-keeper setup install --node workstation');
  });

  it('gives up on Ctrl+C', async () => {
    queen.nodes.install = hang;
    const running = startKeeper(['setup', 'install', '--node', 'workstation'], { queenUrl: queen.url, input: '' });
    await running.stdout.waitFor(/begun/);
    running.signal();
    expect(await running.code).toBe(130);
  });
});

describe('hive', () => {
  it('shows the state of every node, or of one', async () => {
    queen.nodes.hives = [hiveOf('localhost'), hiveOf('workstation')];
    const { code, stdout } = await run('hive', 'status');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^NODE +LINK +STATUS +HIVE +VERSION +WORKERS +FREE MEMORY\nlocalhost .*\nworkstation .*\n$/);
    const one = await run('pool', 'status', '--host', 'workstation', '--json');
    expect(JSON.parse(one.stdout)).toEqual({ hives: [hiveOf('workstation')] });
  });

  it('fails for a node that is not known', async () => {
    const { code, stderr } = await run('hive', 'status', '--node', 'attic');
    expect(code).toBe(1);
    expect(stderr).toContain('rbee-keeper setup add-node --name attic');
  });

  it.each([
    ['start', ['startHive workstation']],
    ['stop', ['stopHive workstation']],
    ['restart', ['stopHive workstation', 'startHive workstation']],
  ])('can be told to %s', async (verb, commands) => {
    const { code, stdout, stderr } = await run('hive', verb, '--node', 'workstation');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const lines = ['[queen-rbee] at work on workstation', '[queen-rbee] the hive of workstation does as told'];
    expect(stdout).toBe(`${commands.flatMap(() => lines).join('\n')}\n`);
    expect(queen.nodes.commands).toEqual(commands);
  });

  it('answers programs with one object', async () => {
    const message = 'the hive of workstation does as told';
    const { stdout } = await run('hive', 'start', '--node', 'workstation', '--json');
    expect(JSON.parse(stdout)).toEqual({ node: 'workstation', message });
    const { stdout: restarted } = await run('hive', 'restart', '--node', 'workstation', '--json');
    expect(JSON.parse(restarted)).toEqual({ node: 'workstation', stopped: message, started: message });
  });

  it('does not start what could not be stopped', async () => {
    queen.nodes.command = async () => {
      throw new RbeeError('SSH_CONNECTION_TIMEOUT', 'no SSH connection');
    };
    expect(await run('hive', 'restart', '--node', 'workstation')).toMatchObject({ code: 1 });
    expect(queen.nodes.commands).toEqual(['stopHive workstation']);
  });

  it('warns that what it starts ends with a queen that ends', async () => {
    queen.ephemeral = true;
    const { code, stderr } = await run('hive', 'start', '--node', 'workstation');
    expect(code).toBe(0);
    expect(stderr).toContain('rbee-keeper queen start');
    const { stderr: stopped } = await run('hive', 'stop', '--node', 'workstation');
    expect(stopped).toBe('');
  });
});

describe('infer on a node', () => {
  it('says how to register one that is not known', async () => {
    queen.script = async () => {
      throw new RbeeError('NODE_NOT_FOUND', 'there is no node attic', { details: { node: 'attic' } });
    };
    const { code, stderr } = await run('infer', '--node', 'attic', '--prompt', 'hi');
    expect(code).toBe(1);
    expect(stderr).toContain('rbee-keeper setup add-node --name attic --ssh-host HOST');
  });

  it('shows every attempt on standard error when the machine cannot be reached, and keeps standard output clean', async () => {
    queen.script = async (_task, stream) => {
      for (const attempt of [1, 2, 3]) {
        stream.send(said(`attempt ${attempt}/3: attic.home.arpa port 22, timeout 10 s`));
      }
      throw new RbeeError('SSH_CONNECTION_TIMEOUT', 'no SSH connection to attic after 3 attempts', {
        details: { node: 'attic', host: 'attic.home.arpa', port: 22, timeout_ms: 10_000 },
      });
    };
    const { code, stdout, stderr } = await run('infer', '--node', 'attic', '--prompt', 'hi');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr.match(/^\[queen-rbee\] attempt \d\/3: .*$/gm)).toHaveLength(3);
    expect(stderr).toContain('  host: attic.home.arpa\n  port: 22\n  timeout (ms): 10000\n');
    expect(stderr).toContain('ping attic.home.arpa');
  });
});
