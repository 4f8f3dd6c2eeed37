import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const HOST = '127.0.0.1';
const START_ATTEMPTS = 5;

export interface SshServerOptions {
  /** Home folder that sessions see in HOME; made where it is missing. It stays when the server stops. */
  readonly home: string;
  /** Further options of sshd_config(5), each as `Name=value`; the first value of a name counts. */
  readonly options?: readonly string[];
  /** Variables of every session, beside HOME; PATH is that of this process unless it is given. */
  readonly setEnv?: Readonly<Record<string, string>>;
}

/** A real sshd on a free port of the loopback address, which lets in one new key. */
export interface SshServer {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Private key that it lets in. */
  readonly keyPath: string;
  /** As `ssh-keygen -l` prints it. */
  readonly hostKeyFingerprint: string;
  /** The host key as `<type> <base64>`. */
  readonly hostKey: string;
  readonly home: string;
  /** Process ids of the sessions that are open now. */
  sessions(): number[];
  /** Kills what serves the connections that are open now, and what runs on them; new ones are taken. */
  dropConnections(): void;
  /** Stops every process of the server without closing anything: connections stay open and nothing moves on them. */
  freeze(): void;
  thaw(): void;
  /** The same address with another host key; open connections are dropped. */
  restartWithNewHostKey(): Promise<void>;
  /** Comes back after `halt` on the same port with the same keys. */
  restart(): Promise<void>;
  /** Ends the server and its connections, so that its port refuses; its keys stay. */
  halt(): Promise<void>;
  /** Ends everything, and removes its keys. */
  stop(): Promise<void>;
}

/** Starts sshd. Needs /usr/sbin/sshd, and root where its privilege separation does. */
export async function startSshServer(options: SshServerOptions): Promise<SshServer> {
  // The folder for privilege separation, which a service manager would make.
  mkdirSync('/run/sshd', { recursive: true });
  mkdirSync(options.home, { recursive: true });
  const folder = mkdtempSync(join(tmpdir(), 'ssh-server-'));
  const keyPath = join(folder, 'id_ed25519');
  const hostKeyPath = join(folder, 'host_key');
  makeKey(keyPath);
  makeKey(hostKeyPath);
  copyFileSync(`${keyPath}.pub`, join(folder, 'authorized_keys'));
  const begin = (port: number) => startDaemon(folder, hostKeyPath, port, options);
  let { port, daemon } = await onFreePort(begin).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });

  const readHostKey = () => readFileSync(`${hostKeyPath}.pub`, 'utf8').split(' ').slice(0, 2).join(' ').trim();
  const halt = async () => {
    const { pid } = daemon;
    if (daemon.exitCode !== null || daemon.signalCode !== null || pid === undefined) return;
    const ended = once(daemon, 'exit');
    // Its children first: without it they would belong to nobody and could not be found.
    signalAll(descendants(pid), 'SIGKILL');
    daemon.kill('SIGKILL');
    await ended;
  };
  const restart = async () => {
    daemon = await begin(port);
  };
  return {
    host: HOST,
    get port() {
      return port;
    },
    user: userInfo().username,
    keyPath,
    get hostKey() {
      return readHostKey();
    },
    get hostKeyFingerprint() {
      const blob = Buffer.from(readHostKey().split(' ')[1] ?? '', 'base64');
      return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
    },
    home: options.home,
    sessions: () => children(daemon.pid ?? 0),
    dropConnections: () => signalAll(descendants(daemon.pid ?? 0), 'SIGKILL'),
    freeze: () => {
      daemon.kill('SIGSTOP');
      signalAll(descendants(daemon.pid ?? 0), 'SIGSTOP');
    },
    thaw: () => {
      signalAll(descendants(daemon.pid ?? 0), 'SIGCONT');
      daemon.kill('SIGCONT');
    },
    restartWithNewHostKey: async () => {
      await halt();
      rmSync(hostKeyPath);
      makeKey(hostKeyPath);
      await restart();
    },
    restart,
    halt,
    stop: async () => {
      await halt();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Makes a key pair without a passphrase, or with one. */
export function makeKey(path: string, passphrase = ''): void {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', passphrase, '-C', 'rbee-test', '-f', path], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function onFreePort(begin: (port: number) => Promise<ChildProcess>) {
  for (let attempt = 1; ; attempt++) {
    const port = await findFreePort();
    try {
      return { port, daemon: await begin(port) };
    } catch (error) {
      // Somebody else may have taken the port in between.
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

/** A port that nothing listens on at this moment. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, HOST), 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('there is no port');
  return address.port;
}

async function startDaemon(
  folder: string,
  hostKeyPath: string,
  port: number,
  options: SshServerOptions,
): Promise<ChildProcess> {
  const path = execFileSync('/bin/sh', ['-c', 'printf %s "$PATH"'], { encoding: 'utf8' });
  const variables = { HOME: options.home, PATH: path, ...options.setEnv };
  const pairs = Object.entries(variables).map(([name, value]) => `"${name}=${value}"`);
  const own = options.options ?? [];
  const settings = [
    ...own,
    `ListenAddress=${HOST}`,
    `AuthorizedKeysFile=${join(folder, 'authorized_keys')}`,
    'PidFile=none',
    'StrictModes=no',
    'PermitRootLogin=prohibit-password',
    'PasswordAuthentication=no',
    'KbdInteractiveAuthentication=no',
    // Only this one may not be given twice.
    ...(own.some((option) => option.startsWith('Subsystem=')) ? [] : ['Subsystem=sftp internal-sftp']),
    `SetEnv=${pairs.join(' ')}`,
  ].flatMap((setting) => ['-o', setting]);
  const args = ['-D', '-e', '-f', '/dev/null', '-h', hostKeyPath, '-p', String(port), ...settings];
  const daemon = spawn('/usr/sbin/sshd', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  daemon.unref();
  const lines: string[] = [];
  await new Promise<void>((resolve, reject) => {
    daemon.once('error', reject);
    daemon.once('exit', (code) => reject(new Error(`sshd ended with ${code}: ${lines.join('\n')}`)));
    // Read to its end: a full pipe would stop the server.
    createInterface(daemon.stderr).on('line', (line) => {
      if (lines.length < 20) lines.push(line);
      if (line.startsWith('Server listening on ')) resolve();
    });
  });
  return daemon;
}

/** Process ids by the process that started them. */
function children(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => parentOf(pid) === parent);
}

function descendants(parent: number): number[] {
  return children(parent).flatMap((pid) => [pid, ...descendants(pid)]);
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    // It ended since it was listed.
    return undefined;
  }
}

function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
