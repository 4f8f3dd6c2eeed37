import { createConnection, createServer, type Server, type Socket } from 'node:net';

interface Address {
  readonly host: string;
  readonly port: number;
}

/** One connection through a relay: the side that came, and the one that the relay opened for it. */
interface Pair {
  readonly near: Socket;
  far: Socket | undefined;
}

/**
 * A cable between two programs: passes TCP connections on, and can fall silent. While it is silent nothing moves in
 * either direction and nobody is told; connections that come meanwhile wait.
 */
export class Relay {
  readonly #to: Address;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #isSilent = false;
  #onArrival: (() => void)[] = [];

  private constructor(to: Address) {
    this.#to = to;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (near) => this.#take(near));
  }

  static async start(at: Address, to: Address): Promise<Relay> {
    const relay = new Relay(to);
    await new Promise<void>((resolve, reject) => {
      relay.#server.once('error', reject);
      relay.#server.listen(at.port, at.host, resolve);
    });
    return relay;
  }

  /** Nothing moves any more, on any connection. */
  silence(): void {
    this.#isSilent = true;
    for (const { near, far } of this.#pairs) {
      near.unpipe();
      far?.unpipe();
      near.pause();
      far?.pause();
    }
  }

  /** Ends every connection that has been passed on with a reset, as a router does that has forgotten them. */
  reset(): void {
    for (const pair of this.#pairs) if (pair.far) this.#drop(pair);
  }

  /** What is open, and what comes, is passed on again. */
  restore(): void {
    if (!this.#isSilent) return;
    this.#isSilent = false;
    for (const pair of this.#pairs) this.#pass(pair);
  }

  /** Resolves when the next connection comes. */
  untilNext(): Promise<void> {
    return new Promise((resolve) => this.#onArrival.push(resolve));
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) this.#drop(pair);
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(near: Socket): void {
    const pair: Pair = { near, far: undefined };
    this.#pairs.add(pair);
    this.#watch(near, pair);
    if (!this.#isSilent) this.#pass(pair);
    for (const notify of this.#onArrival.splice(0)) notify();
  }

  #pass(pair: Pair): void {
    if (!pair.far) {
      pair.far = createConnection({ ...this.#to, allowHalfOpen: true });
      this.#watch(pair.far, pair);
    }
    pair.near.setNoDelay(true).pipe(pair.far.setNoDelay(true)).pipe(pair.near);
  }

  /** A side that has gone takes the other one with it, but not through a cable that carries nothing. */
  #watch(socket: Socket, pair: Pair): void {
    // Which error it was makes no difference: 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (!this.#isSilent || !pair.far) this.#drop(pair);
    });
  }

  #drop(pair: Pair): void {
    this.#pairs.delete(pair);
    pair.near.resetAndDestroy();
    pair.far?.resetAndDestroy();
  }
}
