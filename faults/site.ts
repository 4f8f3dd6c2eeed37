import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import type { GlobalWorker, TaskSummary } from '@rbee/protocol';
import { type FoundProcess, findProcessesOf } from '../features/support/leaks.js';
import { signalIfThere } from '../features/support/process-signal.js';
import { Program } from '../features/support/program.js';
import { makeKey, SshNode } from '../features/support/ssh-node.js';
import { waitUntil } from '../features/support/wait.js';
import { heldPorts, type SitePorts, takePorts } from './ports.js';
import { Relay } from './relay.js';

const PROJECT = resolve(import.meta.dirname, '..');
export const NODE = 'far';

/**
 * The second address of this machine at which a node without SSH is reached. It is written as an IPv6 one, because a queen takes
 * loopback addresses for its own machine's, and would go to the node's workers without passing the relay.
 */
const FAR_ADDRESS = '127.0.0.2';
const FAR_HOST = '[::ffff:7f00:2]';

const WORKER_PORTS = 4;
/** Sites that are open now, for a run that is broken off. */
const open = new Set<Site>();

/** Leaves nothing behind when the run is interrupted. To be called once, by what runs. */
export function endOnSignal(): void {
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => {
      for (const site of open) site.destroy();
      process.exit(name === 'SIGINT' ? 130 : 143);
    });
  }
}

const END_MS = 45_000;

/** How the node is reached: over a real SSH server, or at a hive that listens on an address. */
type Way = 'ssh' | 'direct';

interface SiteOptions {
  readonly way: Way;
  readonly hubEndpoint: string;
  /** Slots of each worker. */
  readonly slots: number;
  readonly variables?: Readonly<Record<string, string>>;
}

/** Two machines: the user's own, with keeper and queen, and a node with a hive and workers; and the cables between them. */
export class Site {
  readonly home: string;
  readonly nodeHome: string;
  readonly ports: SitePorts;
  readonly variables: Record<string, string>;
  /** Cables by what they lead to. */
  readonly relays: { queen: Relay; ssh?: Relay; hive?: Relay; workers: readonly Relay[] };
  readonly #options: SiteOptions;
  readonly #folder: string;
  readonly #programs: Program[] = [];
  #machine: SshNode | undefined;

  private constructor(options: SiteOptions, folder: string, ports: SitePorts, queenRelay: Relay) {
    this.#options = options;
    this.#folder = folder;
    this.ports = ports;
    this.home = join(folder, 'home');
    this.nodeHome = join(folder, 'machine/home');
    this.relays = { queen: queenRelay, workers: [] };
    for (const home of [this.home, this.nodeHome]) mkdirSync(join(home, 'tmp'), { recursive: true });
    this.variables = {
      PATH: process.env.PATH ?? '',
      HOME: this.home,
      TMPDIR: join(this.home, 'tmp'),
      RBEE_QUEEN_PORT: String(ports.queen),
      RBEE_HIVE_PORT: String(ports.localHive),
      RBEE_WORKER_PORT_START: String(ports.localWorkers),
      RBEE_NO_JITTER: '1',
      HF_ENDPOINT: options.hubEndpoint,
      ...options.variables,
    };
  }

  static async open(options: SiteOptions): Promise<Site> {
    const folder = mkdtempSync(join(tmpdir(), 'rbee-faults-'));
    const ports = await takePorts();
    const local = '127.0.0.1';
    const queen = await Relay.start({ host: local, port: ports.queenRelay }, { host: local, port: ports.queen });
    const site = new Site(options, folder, ports, queen);
    open.add(site);
    for (const home of [site.home, site.nodeHome]) site.#configure(home);
    await site.#openNode();
    return site;
  }

  /** The SSH server of the node. */
  get machine(): SshNode {
    if (!this.#machine) throw new Error('the node of this site is not reached over SSH');
    return this.#machine;
  }

  get queenUrl(): string {
    return `http://127.0.0.1:${this.ports.queen}`;
  }

  /** What a keeper has to be told to reach the queen through the cable. */
  get throughRelay(): Record<string, string> {
    return { RBEE_QUEEN_URL: `http://127.0.0.1:${this.ports.queenRelay}` };
  }

  /** Starts a queen as a keeper does, which ends with its last client but not before all is done; or as an operator does. */
  async startQueen({ persistent = false, nodeArgs = [] as readonly string[] } = {}): Promise<Program> {
    const args = ['daemon', ...(persistent ? [] : ['--ephemeral', '--keep-alive', '30m'])];
    const queen = this.#start('apps/queen-rbee/bin/queen-rbee.js', args, this.variables, nodeArgs);
    await this.#untilAnswers(`${this.queenUrl}/health`, queen);
    return queen;
  }

  keeper(args: readonly string[], variables: Readonly<Record<string, string>> = {}): Program {
    return this.#start('apps/rbee-keeper/bin/rbee-keeper.js', args, { ...this.variables, ...variables });
  }

  async addNode(): Promise<void> {
    const { hive, sshRelay } = this.ports;
    await this.post('/v2/registry/beehives/add', {
      node_name: NODE,
      ...(this.#machine
        ? {
            ssh_host: '127.0.0.1',
            ssh_port: sshRelay,
            ssh_user: userInfo().username,
            ssh_key_path: join(this.home, '.ssh/id_ed25519'),
            hive_port: hive,
          }
        : { hive_url: `http://${FAR_HOST}:${hive}`, hive_token_file: this.#tokenFile }),
    });
  }

  /** Asks the queen for something and gives its whole answer; throws when it is an error. */
  async post(path: string, body: unknown): Promise<string> {
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(this.queenUrl + path, { method: 'POST', headers, body: JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok || /^event: error$/m.test(text)) throw new Error(`${path}: ${response.status} ${text}`);
    return text;
  }

  async workers(): Promise<readonly GlobalWorker[]> {
    return ((await this.#get('/v2/workers/list')) as { workers: GlobalWorker[] }).workers;
  }

  async tasks(): Promise<readonly TaskSummary[]> {
    return ((await this.#get('/v2/tasks')) as { tasks: TaskSummary[] }).tasks;
  }

  /** Every process of the site, on both machines; not the SSH server and its sessions. */
  processes(): FoundProcess[] {
    const server = this.#machine?.serverPids ?? [];
    return [this.home, this.nodeHome].flatMap(findProcessesOf).filter(({ pid }) => !server.includes(pid));
  }

  /** Pids of the programs of one kind. */
  pidsOf(program: 'queen-rbee' | 'rbee-hive' | 'llm-worker'): number[] {
    const pattern = {
      'queen-rbee': /queen-rbee\S* daemon/,
      'rbee-hive': /rbee-hive\S* daemon/,
      'llm-worker': /--worker-id/,
    };
    return this.processes()
      .filter(({ command }) => pattern[program].test(command))
      .map(({ pid }) => pid);
  }

  /** Starts the hive of a node that is not reached over SSH, as its owner does. */
  async startDirectHive(): Promise<Program> {
    const variables = {
      ...this.variables,
      HOME: this.nodeHome,
      TMPDIR: join(this.nodeHome, 'tmp'),
      RBEE_HIVE_PORT: String(this.ports.hive),
      RBEE_WORKER_PORT_START: String(this.ports.workers),
      RBEE_HIVE_TOKEN_FILE: this.#tokenFile,
    };
    const hive = this.#start('apps/rbee-hive/bin/rbee-hive.js', ['daemon'], variables);
    await this.#untilAnswers(`http://127.0.0.1:${this.ports.hive}/v1/health`, hive);
    return hive;
  }

  /** Ends everything in the way an operator does, and tells what is left of it. */
  async close(): Promise<string[]> {
    for (const relay of this.#allRelays) relay.restore();
    if (this.#machine) await this.#machine.makeReachable();
    const left: string[] = [];
    const ending = [...this.pidsOf('queen-rbee'), ...(this.#machine ? [] : this.pidsOf('rbee-hive'))];
    for (const pid of ending) signalIfThere(pid, 'SIGTERM');
    const programs = this.#programs.filter((program) => program.running);
    for (const program of programs) if (!ending.includes(program.child.pid ?? 0)) program.kill('SIGTERM');
    const end = performance.now() + END_MS;
    while (this.processes().length > 0 && performance.now() < end)
      await new Promise((settle) => setTimeout(settle, 30));
    for (const { pid, command } of this.processes()) {
      left.push(`process ${pid} ${command}`);
      signalIfThere(pid, 'SIGKILL');
    }
    await this.#machine?.stopServer();
    await Promise.all(this.#allRelays.map((relay) => relay.close()));
    for (const port of await heldPorts(this.ports.first)) left.push(`port ${port}`);
    left.push(...this.#findFiles());
    return left;
  }

  /** Ends everything at once. */
  destroy(): void {
    for (const { pid } of [this.home, this.nodeHome].flatMap(findProcessesOf)) signalIfThere(pid, 'SIGKILL');
    this.remove();
  }

  /** Removes the folders; what the programs logged goes with them. */
  remove(): void {
    open.delete(this);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get folder(): string {
    return this.#folder;
  }

  get #allRelays(): Relay[] {
    const { queen, ssh, hive, workers } = this.relays;
    return [queen, ...(ssh ? [ssh] : []), ...(hive ? [hive] : []), ...workers];
  }

  get #tokenFile(): string {
    return join(this.#folder, 'hive.token');
  }

  #configure(home: string): void {
    const folder = join(home, '.config/rbee');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'config.toml'), `[limits]\nslots_per_worker = ${this.#options.slots}\n`, {
      mode: 0o600,
    });
  }

  async #openNode(): Promise<void> {
    const { ssh, sshRelay, hive, workers } = this.ports;
    if (this.#options.way === 'direct') {
      writeFileSync(this.#tokenFile, `${randomBytes(24).toString('hex')}\n`, { mode: 0o600 });
      const relay = (port: number) => Relay.start({ host: FAR_ADDRESS, port }, { host: '127.0.0.1', port });
      this.relays.hive = await relay(hive);
      this.relays.workers = await Promise.all(
        Array.from({ length: WORKER_PORTS }, (_, index) => relay(workers + index)),
      );
      await this.startDirectHive();
      return;
    }
    const folder = join(this.#folder, 'machine');
    const { variables } = this;
    const host = '127.0.0.1';
    this.#machine = await SshNode.start({ folder, host, port: ssh, hivePort: hive, workerPort: workers, variables });
    this.relays.ssh = await Relay.start({ host, port: sshRelay }, { host, port: ssh });
    const key = join(this.home, '.ssh/id_ed25519');
    makeKey(key);
    this.#machine.letIn(`${key}.pub`);
    this.#machine.linkProject(PROJECT);
  }

  #start(
    launcher: string,
    args: readonly string[],
    variables: Readonly<Record<string, string>>,
    nodeArgs: readonly string[] = [],
  ): Program {
    const program = new Program({
      command: process.execPath,
      args: [...nodeArgs, join(PROJECT, launcher), ...args],
      variables,
      cwd: this.home,
    });
    program.child.stdin?.end();
    this.#programs.push(program);
    return program;
  }

  async #untilAnswers(url: string, program: Program): Promise<void> {
    await waitUntil(
      () => {
        if (!program.running) throw new Error(program.report());
        return fetch(url).then(
          (response) => response.ok,
          () => false,
        );
      },
      () => `${url} never answered\n${program.report()}`,
    );
  }

  async #get(path: string): Promise<unknown> {
    const response = await fetch(this.queenUrl + path);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  }

  /** Temporary files and run files that outlived their programs. */
  #findFiles(): string[] {
    const expected = /^(rbee-partial-|node-compile-cache|tsx-)/;
    return [this.home, this.nodeHome].flatMap((home) => {
      const run = join(home, '.rbee/run');
      return [
        ...readdirSync(join(home, 'tmp')).filter((name) => !expected.test(name)),
        ...(existsSync(run) ? readdirSync(run, { recursive: true, withFileTypes: true }) : [])
          .filter((entry) => entry.isFile())
          .map(({ parentPath, name }) => join(parentPath, name)),
      ].map((name) => `file ${name}`);
    });
  }
}
