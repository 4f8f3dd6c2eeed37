import { execFileSync } from 'node:child_process';

/** The queen's machine and the other one, each with a network of its own and a cable between them. */
const ADDRESSES = { queen: '10.77.0.1', node: '10.77.0.2' } as const;

export type Side = keyof typeof ADDRESSES;

let made = 0;

/** Two network namespaces that are joined by a virtual cable; no other way leads in or out. */
export class Network {
  readonly addresses = ADDRESSES;
  #hasBlackHole = false;
  readonly #prefix = `rbee-${process.pid}-${++made}`;

  private constructor() {
    for (const side of ['queen', 'node'] as const) {
      ip('netns', 'add', this.namespace(side));
      ip('-n', this.namespace(side), 'link', 'set', 'lo', 'up');
    }
    const [queen, node] = [this.namespace('queen'), this.namespace('node')];
    ip('link', 'add', 'cable', 'netns', queen, 'type', 'veth', 'peer', 'name', 'cable', 'netns', node);
    for (const side of ['queen', 'node'] as const) {
      ip('-n', this.namespace(side), 'address', 'add', `${ADDRESSES[side]}/24`, 'dev', 'cable');
      ip('-n', this.namespace(side), 'link', 'set', 'cable', 'up');
    }
  }

  /** Lays the network. Returns the reason as text where this machine does not allow it. */
  static lay(): Network | string {
    const before = made;
    try {
      return new Network();
    } catch (error) {
      removeNamespaces(`rbee-${process.pid}-${before + 1}`);
      return String((error as { stderr?: unknown }).stderr || (error as Error).message).trim();
    }
  }

  namespace(side: Side): string {
    return `${this.#prefix}-${side}`;
  }

  /** What a program is started through so that it runs on one side. */
  through(side: Side): string[] {
    return ['ip', 'netns', 'exec', this.namespace(side)];
  }

  /** Pulls the cable at the node, or puts it back: whatever is sent is lost, and nobody is told. */
  setCable(state: 'up' | 'down'): void {
    ip('-n', this.namespace('node'), 'link', 'set', 'cable', state);
  }

  /** The node drops every packet that it would send to the queen, as a firewall does, or sends them again. */
  setBlackHole(state: 'on' | 'off'): void {
    if (this.#hasBlackHole === (state === 'on')) return;
    this.#hasBlackHole = !this.#hasBlackHole;
    const action = this.#hasBlackHole ? 'add' : 'del';
    ip('-n', this.namespace('node'), 'route', action, 'blackhole', `${ADDRESSES.queen}/32`);
  }

  /** Undoes what a scenario did to the way between the machines. */
  repair(): void {
    this.setCable('up');
    this.setBlackHole('off');
  }

  remove(): void {
    removeNamespaces(this.#prefix);
  }
}

/** Addresses that something listens on with TCP, as `address:port`, as seen by `ss` when it is started through `through`. */
export function listListeners(through: readonly string[] = []): string[] {
  const [command = 'ss', ...args] = [...through, 'ss', '-Hltn'];
  return execFileSync(command, args, { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => line.trim().split(/\s+/)[3] ?? []);
}

function removeNamespaces(prefix: string): void {
  for (const line of ip('netns', 'list').split('\n')) {
    const name = line.split(' ')[0] ?? '';
    if (name.startsWith(`${prefix}-`)) ip('netns', 'del', name);
  }
}

function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: 'pipe' });
}
