import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_TIMEOUTS, silentLogger, systemClock, type Timeouts } from '@rbee/daemon-kit';
import type { HostKeys } from '../host-key.js';
import type { SshAddress } from '../ssh-address.js';
import { SshSession, type SshSessionOptions } from '../ssh-session.js';
import type { SshServer } from './ssh-server.js';

export interface TestSessionOptions extends Partial<Omit<SshSessionOptions, 'address' | 'hostKeys' | 'timeouts'>> {
  readonly address?: Partial<SshAddress>;
  readonly hostKeys?: HostKeys;
  readonly timeouts?: Partial<Timeouts>;
}

/** Sessions to real servers, from a home folder of their own; each is closed with `close`. */
export class TestSessions {
  /** Home folder of whoever connects. */
  readonly home = mkdtempSync(join(tmpdir(), 'ssh-client-'));
  readonly #sessions: SshSession[] = [];

  open(server: Pick<SshServer, 'host' | 'port' | 'user' | 'keyPath'>, options: TestSessionOptions = {}): SshSession {
    const { address, hostKeys = {}, timeouts, ...others } = options;
    const { host, port, user, keyPath } = server;
    const session = new SshSession({
      node: 'bench-1',
      clock: systemClock,
      log: silentLogger,
      variables: { PATH: '/usr/bin:/bin', RBEE_NO_JITTER: '1' },
      home: this.home,
      user,
      ...others,
      address: { host, port, user, keyPath, ...address },
      hostKeys: () => hostKeys,
      timeouts: { ...DEFAULT_TIMEOUTS, ...timeouts },
    });
    this.#sessions.push(session);
    return session;
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.splice(0).map((session) => session.close()));
  }

  async stop(): Promise<void> {
    await this.close();
    rmSync(this.home, { recursive: true, force: true });
  }
}
