import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setWorldConstructor, World } from '@cucumber/cucumber';
import { splitCommandLine } from './command-line.js';
import { type FoundProcess, findProcessesOf, isPortFree } from './leaks.js';
import type { Network } from './network.js';
import { PORTS_PER_SCENARIO, type Ports, takePorts } from './ports.js';
import { Program } from './program.js';
import { SecretWatch } from './secret-watch.js';
import { makeKey, SshNode } from './ssh-node.js';
import { waitUntil } from './wait.js';

export const PROJECT = resolve(import.meta.dirname, '../..');

const LAUNCHERS: Record<string, string> = {
  'rbee-keeper': 'apps/rbee-keeper/bin/rbee-keeper.js',
  rbee: 'apps/rbee-keeper/bin/rbee.js',
  'queen-rbee': 'apps/queen-rbee/bin/queen-rbee.js',
  'rbee-hive': 'apps/rbee-hive/bin/rbee-hive.js',
  'llm-worker-rbee': 'apps/llm-worker/bin/llm-worker-rbee.js',
};

/** One scenario: a home folder, ports and processes of its own. */
export class RbeeWorld extends World {
  home = '';
  ports: Ports = { queen: 0, hive: 0, workers: 0, ssh: 0, remoteHive: 0, remoteWorkers: 0 };
  variables: Record<string, string> = {};
  programs: Program[] = [];
  /** Set by a scenario that starts its programs as another user. */
  user: { uid: number; gid: number } | undefined;
  /** What steps hand on to later steps. */
  notes = new Map<string, unknown>();
  /** Where the launchers are started from. */
  project = PROJECT;
  /** Set by a scenario whose two machines have networks of their own; programs run on the queen's side then. */
  network: Network | undefined;
  /** Sees to it that the scenario's keys stay where they belong. */
  readonly secrets = new SecretWatch(this);
  #machine: SshNode | undefined;
  #folder = '';
  #closers: (() => Promise<unknown>)[] = [];

  async open(): Promise<void> {
    this.#folder = mkdtempSync(join(tmpdir(), 'rbee-scenario-'));
    this.home = join(this.#folder, 'home');
    mkdirSync(join(this.home, 'tmp'), { recursive: true });
    this.ports = await takePorts();
    this.variables = {
      PATH: process.env.PATH ?? '',
      HOME: this.home,
      TMPDIR: join(this.home, 'tmp'),
      RBEE_QUEEN_PORT: String(this.ports.queen),
      RBEE_HIVE_PORT: String(this.ports.hive),
      RBEE_WORKER_PORT_START: String(this.ports.workers),
      RBEE_NO_JITTER: '1',
    };
    this.secrets.start();
  }

  /**
   * Lets the scenario's programs run as a user who owns nothing of it; whoever has no right to change the user runs them as
   * himself. The launchers are copied, because that user may not be able to read the folder of the project.
   */
  becomeUnprivileged(): void {
    if (process.getuid?.() !== 0) return;
    const id = (flag: string) => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
    this.user = { uid: id('-u'), gid: id('-g') };
    this.project = join(this.#folder, 'project');
    for (const app of ['rbee-keeper', 'queen-rbee']) {
      for (const part of ['bin', 'dist', 'package.json']) {
        cpSync(join(PROJECT, 'apps', app, part), join(this.project, 'apps', app, part), { recursive: true });
      }
    }
    chmodSync(this.#folder, 0o755);
  }

  /** Starts one of the launchers. */
  start(
    name: string,
    args: readonly string[],
    options: { input?: string; variables?: Record<string, string> } = {},
  ): Program {
    const launcher = LAUNCHERS[name];
    assert(launcher, `there is no launcher named ${name}`);
    return this.startScript([join(this.project, launcher)], args, options);
  }

  /** Starts a Node program. */
  startScript(
    script: readonly string[],
    args: readonly string[],
    options: { input?: string; variables?: Record<string, string> } = {},
  ): Program {
    const [command = '', ...words] = [...(this.network?.through('queen') ?? []), process.execPath, ...script, ...args];
    const program = new Program({
      command,
      args: words,
      variables: { ...this.variables, ...options.variables },
      cwd: this.home,
      input: options.input,
      user: this.user,
    });
    this.programs.push(program);
    return program;
  }

  /** Starts a command line such as `rbee-keeper infer --prompt "hello"`. */
  startCommand(line: string, options: { input?: string } = {}): Program {
    const [name = '', ...args] = splitCommandLine(this.fill(line));
    return this.start(name, args, options);
  }

  /** Starts the machine that the scenario reaches over SSH with the key `~/.ssh/id_ed25519`. */
  async startMachine(): Promise<SshNode> {
    this.#machine = await SshNode.start({
      folder: this.makeFolder('machine'),
      host: this.network?.addresses.node ?? '127.0.0.1',
      port: this.ports.ssh,
      hivePort: this.ports.remoteHive,
      workerPort: this.ports.remoteWorkers,
      variables: this.variables,
      through: this.network?.through('node'),
    });
    const key = join(this.home, '.ssh/id_ed25519');
    makeKey(key);
    this.#machine.letIn(`${key}.pub`);
    return this.#machine;
  }

  /** The machine that the scenario reaches over SSH. */
  get machine(): SshNode {
    assert(this.#machine, 'the scenario has no machine that is reached over SSH');
    return this.#machine;
  }

  /** A new folder beside the home folder, which is removed with the scenario. */
  makeFolder(name: string): string {
    const folder = join(this.#folder, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  /**
   * Replaces `<home>`, `<project>`, `<queen port>` and noted names in a text of a scenario; and, where there is a machine
   * over SSH, `<its home>`, `<its hive port>` and the like, and `<its address>`, which is the flags that tell how to reach it.
   */
  fill(text: string): string {
    return this.#fillMachine(text)
      .replaceAll('<home>', this.home)
      .replaceAll('<project>', PROJECT)
      .replaceAll('<queen port>', String(this.ports.queen))
      .replaceAll('<hive port>', String(this.ports.hive))
      .replaceAll('<first worker port>', String(this.ports.workers))
      .replaceAll('<second worker port>', String(this.ports.workers + 1))
      .replace(/<noted ([^>]+)>/g, (_match, name: string) => String(this.notes.get(name)));
  }

  #fillMachine(text: string): string {
    const machine = this.#machine;
    if (!machine) return text;
    const { host, port, user } = machine;
    const address = `--ssh-host ${host} --ssh-port ${port} --ssh-user ${user} --ssh-key ~/.ssh/id_ed25519`;
    return text
      .replaceAll('<its address>', address)
      .replaceAll('<its host>', host)
      .replaceAll('<its SSH port>', String(port))
      .replaceAll('<its user>', user)
      .replaceAll('<its home>', machine.home)
      .replaceAll('<its hive port>', String(machine.hivePort))
      .replaceAll('<its first worker port>', String(machine.workerPort))
      .replaceAll('<its fingerprint>', machine.fingerprint);
  }

  get queenUrl(): string {
    return `http://127.0.0.1:${this.ports.queen}`;
  }

  /** Port of the hive that the scenario is about: the one of the machine over SSH, where there is one. */
  get hivePort(): number {
    return this.#machine?.hivePort ?? this.ports.hive;
  }

  /** Home folder that this hive runs with. */
  get hiveHome(): string {
    return this.#machine?.home ?? this.home;
  }

  get hiveUrl(): string {
    return `http://127.0.0.1:${this.hivePort}`;
  }

  /** What this hive wants to see of its callers. A key file is made when a queen comes to the machine over SSH. */
  get hiveHeaders(): Record<string, string> {
    const file = join(this.hiveHome, '.rbee/secrets/hive.token');
    return existsSync(file) ? { Authorization: `Bearer ${readFileSync(file, 'utf8').trim()}` } : {};
  }

  /** Sends a request to this hive. */
  askHive(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.hiveUrl + path, { ...init, headers: this.hiveHeaders });
  }

  /** The program that was started last. */
  get last(): Program {
    const program = this.programs.at(-1);
    assert(program, 'no program was started');
    return program;
  }

  /** Starts a daemon and waits until it answers. */
  async startDaemon(name: 'queen-rbee' | 'rbee-hive', args: readonly string[] = []): Promise<Program> {
    const program = this.start(name, ['daemon', ...args]);
    await this.waitForHealth(program, name === 'queen-rbee' ? `${this.queenUrl}/health` : `${this.hiveUrl}/v1/health`);
    return program;
  }

  async waitForHealth(program: Program, url: string): Promise<void> {
    await waitUntil(
      async () => {
        assert(program.running, `the daemon ended\n${program.report()}`);
        return await fetch(url).then(
          (response) => response.ok,
          () => false,
        );
      },
      () => `${url} never answered\n${program.report()}`,
    );
  }

  /** Writes the probe file: what the hive is told about this machine. */
  presentMachine(figures: unknown): void {
    const path = join(this.home, 'probe.json');
    writeFileSync(path, JSON.stringify(figures));
    this.variables.RBEE_PROBE_FILE = path;
  }

  /** Remembers how to end something that a step started inside the suite itself. */
  onClose(closer: () => Promise<unknown>): void {
    this.#closers.push(closer);
  }

  /**
   * Ends what the scenario started and fails when anything of it is left behind, or a secret has got out. `name` is the
   * scenario's.
   */
  async close(name: string): Promise<void> {
    for (const closer of this.#closers) await closer();
    this.network?.repair();
    await this.#machine?.makeReachable();
    const daemons = this.programs.filter((program) => program.running);
    for (const program of daemons) program.kill('SIGTERM');
    await Promise.all(daemons.map((program) => program.waitForExit(45_000)));
    await this.#machine?.stopServer();
    const left = await this.#waitForProcesses();
    for (const { pid } of left) process.kill(pid, 'SIGKILL');
    this.network?.remove();
    const held: number[] = [];
    for (let port = this.ports.queen; port < this.ports.queen + PORTS_PER_SCENARIO; port++)
      if (!(await isPortFree(port))) held.push(port);
    const files = this.homes.flatMap((home) => readdirSync(join(home, 'tmp'))).filter((name) => !isExpected(name));
    const leaks = this.secrets.findLeaks();
    this.secrets.stop();
    this.secrets.report(name, leaks);
    rmSync(this.#folder, { recursive: true, force: true });
    assert.deepEqual(left, [], 'processes were left behind');
    assert.deepEqual(held, [], 'ports are still held');
    assert.deepEqual(files, [], 'temporary files were left behind');
    assert.deepEqual(leaks, [], 'secrets are where they must not be');
  }

  /** The home folders of the scenario's machines. */
  get homes(): string[] {
    return this.#machine ? [this.home, this.#machine.home] : [this.home];
  }

  /** Every process of the scenario, on both of its machines. */
  findProcesses(): FoundProcess[] {
    return this.homes.flatMap(findProcessesOf);
  }

  async #waitForProcesses(): Promise<FoundProcess[]> {
    const end = performance.now() + 5_000;
    for (;;) {
      const left = this.findProcesses();
      if (left.length === 0 || performance.now() > end) return left;
      await new Promise((settle) => setTimeout(settle, 50));
    }
  }
}

function isExpected(name: string): boolean {
  // Partial results are meant to be found by the user; node keeps its compile cache in the temporary folder.
  return name.startsWith('rbee-partial-') || name === 'node-compile-cache' || name.startsWith('tsx-');
}

setWorldConstructor(RbeeWorld);
