import { Duplex } from 'node:stream';
import type { Channel } from 'ssh2';

/**
 * A forwarded connection that behaves like a socket. A channel alone ends cleanly when its connection breaks and never
 * tells an error, so that a cut-off answer would look whole; this one is destroyed with the reason.
 */
export class ForwardedSocket extends Duplex {
  readonly #channel: Channel;
  #closed = false;
  /** Told when a write that waits for room can no longer be made. */
  #waiting: ((error: Error) => void) | undefined;

  constructor(channel: Channel) {
    super({ allowHalfOpen: false });
    this.#channel = channel;
    channel.on('data', (chunk: Buffer) => {
      if (!this.destroyed && !this.push(chunk)) channel.pause();
    });
    channel.on('end', () => this.push(null));
    channel.on('error', (error: Error) => this.destroy(error));
    channel.on('close', () => {
      this.#closed = true;
      this.#waiting?.(closedError());
    });
  }

  override _read(): void {
    this.#channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#closed || !this.#channel.writable) {
      callback(closedError());
      return;
    }
    // A channel that closes forgets the callbacks of its writes.
    const done = (error?: Error | null) => {
      if (this.#waiting !== done) return;
      this.#waiting = undefined;
      callback(error);
    };
    this.#waiting = done;
    this.#channel.write(chunk, done);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#channel.end();
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#channel.close();
    // What still comes has to be read: the end of the channel stands behind it.
    this.#channel.resume();
    callback(error);
  }

  // What callers of a network socket expect; keeping alive and delays are the connection's matter.
  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

function closedError(): Error {
  return Object.assign(new Error('the forwarded connection was closed'), { code: 'EPIPE' });
}
