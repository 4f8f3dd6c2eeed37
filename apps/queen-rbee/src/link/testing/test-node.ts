import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  DEFAULT_TIMEOUTS,
  identify,
  type Spoken,
  silentLogger,
  sleep,
  systemClock,
  type Timeouts,
} from '@rbee/daemon-kit';
import type { OwnedHive } from '../../registry/node-record.js';
import { findFreePort, type SshServer, startSshServer } from '../../ssh/testing/ssh-server.js';
import { TestSessions } from '../../ssh/testing/test-session.js';
import { SshLink, type SshLinkOptions } from '../ssh-link.js';

const shortPause = () => sleep(systemClock, 5);
const TINY_LAUNCHER = new URL('./tiny-launcher.mjs', import.meta.url).href;
/** This repository, which is a plain checkout as a node may have one. */
export const CHECKOUT = fileURLToPath(new URL('../../../../../', import.meta.url));

/** A machine behind a real SSH server, with a home folder of its own, and links to it. */
export class TestNode {
  readonly said: Spoken[] = [];
  readonly narrate = (spoken: Spoken) => void this.said.push(spoken);
  /** What the registry would keep, one entry for each change. */
  readonly owned: (OwnedHive | undefined)[] = [];
  readonly #sessions = new TestSessions();
  readonly #links: SshLink[] = [];

  private constructor(
    readonly server: SshServer,
    readonly home: string,
    readonly hivePort: number,
  ) {}

  static async start(options: { readonly sshd?: readonly string[]; readonly path?: string } = {}): Promise<TestNode> {
    const home = mkdtempSync(join(tmpdir(), "a node's home "));
    const server = await startSshServer({
      home,
      ...(options.sshd ? { options: options.sshd } : {}),
      setEnv: { ...(options.path === undefined ? {} : { PATH: options.path }), RBEE_T_HIVE_SHUTDOWN: '5s' },
    });
    return new TestNode(server, home, await findFreePort());
  }

  /** Puts a hive there that behaves as its name says; see tiny-launcher.mjs and tiny-hive.mjs. */
  installTinyHive(behaviour: string): void {
    const launcher = join(this.home, 'rbee', 'apps', 'rbee-hive', 'bin', 'rbee-hive.js');
    mkdirSync(dirname(launcher), { recursive: true });
    writeFileSync(launcher, `import(${JSON.stringify(TINY_LAUNCHER)});\n`);
    writeFileSync(join(this.home, 'behaviour'), behaviour);
  }

  /** Process ids of the tiny hives that were started. */
  get started(): number[] {
    const file = join(this.home, 'started');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').map(Number) : [];
  }

  /** Breaks the connection while a hive has been started and its launcher has not said so yet. */
  async cutOffStart(): Promise<void> {
    const hold = join(this.home, 'hold-answer');
    const folder = join(this.home, '.rbee');
    const isAnswer = (name: string) => name.startsWith('launch.') && statSync(join(folder, name)).size > 0;
    writeFileSync(hold, '');
    while (this.started.length === 0) await shortPause();
    // What runs on the connection goes on without it.
    for (const pid of this.server.sessions()) process.kill(pid, 'SIGKILL');
    rmSync(hold);
    while (!readdirSync(folder).some(isAnswer)) await shortPause();
  }

  get running(): number[] {
    return this.started.filter((pid) => identify(pid) !== undefined);
  }

  link(options: Partial<Omit<SshLinkOptions, 'timeouts'>> & { readonly timeouts?: Partial<Timeouts> } = {}): SshLink {
    const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    const link = new SshLink({
      node: 'gpu-box',
      session: this.#sessions.open(this.server, { node: 'gpu-box', timeouts }),
      clock: systemClock,
      log: silentLogger,
      hivePort: this.hivePort,
      installPath: '~/rbee',
      nodePath: process.execPath,
      binaryPath: undefined,
      initialOwned: undefined,
      onOwned: (owned) => this.owned.push(owned),
      ...options,
      timeouts,
    });
    this.#links.push(link);
    return link;
  }

  /** Ends what the links started, and everything else. */
  async stop(): Promise<void> {
    for (const link of this.#links) {
      await link.stopHive(() => undefined);
      await link.close();
    }
    await this.#sessions.stop();
    await this.server.stop();
    rmSync(this.home, { recursive: true, force: true });
  }
}
