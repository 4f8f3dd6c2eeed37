import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { findDescendants } from './leaks.js';
import { Program } from './program.js';

const SSHD = '/usr/sbin/sshd';

export interface SshNodeOptions {
  /** Everything of the machine lies below this folder. */
  readonly folder: string;
  /** Address that it listens on. */
  readonly host: string;
  readonly port: number;
  readonly hivePort: number;
  readonly workerPort: number;
  /** Settings of the scenario that hold on every machine. Read each time the server starts. */
  readonly variables: Readonly<Record<string, string>>;
  /** What the server is started through, for example a program that puts it into another network. */
  readonly through?: readonly string[] | undefined;
}

/**
 * A machine that can be reached over SSH: a real sshd whose sessions have a home folder, ports and settings of their own,
 * so that a hive which is started there knows nothing of the scenario's own home.
 */
export class SshNode {
  readonly home: string;
  readonly host: string;
  readonly port: number;
  readonly hivePort: number;
  readonly workerPort: number;
  readonly user = userInfo().username;
  readonly #options: SshNodeOptions;
  readonly #hostKey: string;
  readonly #authorizedKeys: string;
  /** Further lines of sshd_config(5); they win over the ones below. */
  #settings: string[] = [];
  #packages: Record<string, string> = {};
  #server: Program | undefined;

  private constructor(options: SshNodeOptions) {
    this.#options = options;
    this.home = join(options.folder, 'home');
    this.host = options.host;
    this.port = options.port;
    this.hivePort = options.hivePort;
    this.workerPort = options.workerPort;
    this.#hostKey = join(options.folder, 'host_key');
    this.#authorizedKeys = join(options.folder, 'authorized_keys');
    mkdirSync(join(this.home, 'tmp'), { recursive: true });
    makeKey(this.#hostKey);
    writeFileSync(this.#authorizedKeys, '');
  }

  /** Starts the server. Fails where OpenSSH is not installed: scenarios of remote machines are not left out. */
  static async start(options: SshNodeOptions): Promise<SshNode> {
    assert(existsSync(SSHD), `${SSHD} is missing: install openssh-server and openssh-client`);
    // The folder of its privilege separation, which a service manager would make.
    if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true });
    const node = new SshNode(options);
    await node.startServer();
    return node;
  }

  /** Fingerprint of the host key, as `ssh-keygen -l` prints it. */
  get fingerprint(): string {
    const [, blob = ''] = readFileSync(`${this.#hostKey}.pub`, 'utf8').split(' ');
    const digest = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64');
    return `SHA256:${digest.replace(/=+$/, '')}`;
  }

  /** Variables of every session. */
  get variables(): Record<string, string> {
    const shared = Object.entries(this.#options.variables).filter(([name]) =>
      /^(RBEE_(T|NO)_|RBEE_PROBE_|HF_)/.test(name),
    );
    return {
      HOME: this.home,
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      TMPDIR: join(this.home, 'tmp'),
      ...Object.fromEntries(shared),
      ...this.#packages,
      RBEE_WORKER_PORT_START: String(this.workerPort),
    };
  }

  /** Lets the holder of a key in. */
  letIn(publicKeyFile: string): void {
    copyFileSync(publicKeyFile, this.#authorizedKeys);
  }

  /** Lets nobody in any more. */
  forgetKeys(): void {
    writeFileSync(this.#authorizedKeys, '');
  }

  /** Puts rbee there by a link to this project, for scenarios that are not about installing. */
  linkProject(project: string): void {
    mkdirSync(join(this.home, 'rbee'), { recursive: true });
    symlinkSync(project, join(this.home, 'rbee/current'));
  }

  /** Puts a program there in the place of the hive's launcher. */
  writeLauncher(text: string): void {
    const app = join(this.home, 'rbee/current/apps/rbee-hive');
    mkdirSync(join(app, 'bin'), { recursive: true });
    writeFileSync(join(app, 'package.json'), '{"type": "module"}\n');
    writeFileSync(join(app, 'bin/rbee-hive.js'), text, { mode: 0o755 });
  }

  /** Lets package managers on the machine use what this user's ones have fetched already. */
  async sharePackages(pnpmStore: string): Promise<void> {
    const rc = join(homedir(), '.npmrc');
    if (existsSync(rc)) copyFileSync(rc, join(this.home, '.npmrc'));
    const own = Object.entries(process.env).filter(([name]) => /^npm_config_(nodedir|registry|cafile)$/i.test(name));
    this.#packages = {
      ...(Object.fromEntries(own) as Record<string, string>),
      npm_config_cache: join(homedir(), '.npm'),
      pnpm_config_store_dir: pnpmStore,
    };
    await this.restartServer();
  }

  async startServer(): Promise<void> {
    const config = join(this.#options.folder, 'sshd_config');
    writeFileSync(config, this.#config());
    const [command = SSHD, ...args] = [...(this.#options.through ?? []), SSHD, '-D', '-e', '-f', config];
    const server = new Program({ command, args, variables: this.variables, cwd: this.home });
    await server.waitFor('stderr', /Server listening on/);
    this.#server = server;
  }

  /** Ends the server and every connection. Nothing listens on its port afterwards. */
  async stopServer(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    // The sessions first: without their parent they could not be found.
    for (const pid of sessionsOf(server)) signal(pid, 'SIGKILL');
    server.kill('SIGKILL');
    await server.waitForExit();
  }

  /** Starts again with other settings; connections are dropped. */
  async restartServer(settings: readonly string[] = this.#settings): Promise<void> {
    await this.stopServer();
    this.#settings = [...settings];
    await this.startServer();
  }

  /** The same address with another host key. */
  async changeHostKey(): Promise<void> {
    rmSync(this.#hostKey);
    rmSync(`${this.#hostKey}.pub`);
    makeKey(this.#hostKey);
    await this.restartServer();
  }

  /** Kills what serves the connections that are open now. New ones are accepted. */
  dropConnections(): void {
    const sessions = sessionsOf(this.#running());
    assert(sessions.length > 0, 'there is no connection to drop');
    for (const pid of sessions) signal(pid, 'SIGKILL');
  }

  /** Nothing moves on open connections, and new ones are not served; none is closed. */
  freeze(): void {
    const server = this.#running();
    server.kill('SIGSTOP');
    for (const pid of sessionsOf(server)) signal(pid, 'SIGSTOP');
  }

  thaw(): void {
    const server = this.#running();
    for (const pid of sessionsOf(server)) signal(pid, 'SIGCONT');
    server.kill('SIGCONT');
  }

  /** The server and what serves its connections; empty while it does not run. */
  get serverPids(): number[] {
    const pid = this.#server?.child.pid;
    return pid === undefined ? [] : [pid, ...findDescendants(pid)];
  }

  /** What the server has written since its last start: who came, and what was asked for. */
  get log(): string {
    return this.#running().text.stderr;
  }

  /** Undoes what a scenario did to the connection, so that a queen can end what it started there. */
  async makeReachable(): Promise<void> {
    if (this.#server) this.thaw();
    else await this.startServer();
  }

  #running(): Program {
    assert(this.#server, 'the SSH server does not run');
    return this.#server;
  }

  #config(): string {
    const variables = Object.entries(this.variables).map(([name, value]) => `"${name}=${value}"`);
    return [
      ...this.#settings,
      `ListenAddress ${this.host}:${this.port}`,
      `HostKey ${this.#hostKey}`,
      `AuthorizedKeysFile ${this.#authorizedKeys}`,
      'PidFile none',
      // Commands are logged from this level on.
      'LogLevel VERBOSE',
      'StrictModes no',
      'PermitRootLogin prohibit-password',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      // Many nodes behind one server connect at the same time.
      'MaxStartups 100',
      'Subsystem sftp internal-sftp',
      `SetEnv ${variables.join(' ')}`,
      '',
    ].join('\n');
  }
}

/** Makes a key pair without a passphrase. */
export function makeKey(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'scenario', '-f', path]);
}

/** The processes that serve connections, and what they run. A hive has a session of its own and is none of them. */
function sessionsOf(server: Program): number[] {
  return server.child.pid === undefined ? [] : findDescendants(server.child.pid);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It ended since it was found.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
