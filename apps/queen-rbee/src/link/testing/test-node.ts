import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DEFAULT_TIMEOUTS, identify, type Spoken, silentLogger, systemClock, type Timeouts } from '@rbee/daemon-kit';
import type { OwnedHive } from '../../registry/node-record.js';
import { findFreePort, type SshServer, startSshServer } from '../../ssh/testing/ssh-server.js';
import { TestSessions } from '../../ssh/testing/test-session.js';
import { SshLink, type SshLinkOptions } from '../ssh-link.js';

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
