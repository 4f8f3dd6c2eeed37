import { Agent, request } from 'node:http';
import { SseDecoder } from '@rbee/protocol';

export interface Measured {
  readonly tokens: number;
  /** Milliseconds from sending the request to the first token. */
  readonly firstTokenMs: number;
  /** Milliseconds from sending the request to the last byte. */
  readonly totalMs: number;
  readonly text: string;
}

export interface StreamRequest {
  readonly url: string;
  readonly body: unknown;
  readonly key?: string | undefined;
  /** Closes the connection after this many tokens. */
  readonly leaveAfter?: number;
  /** Told of each token, with the milliseconds since the one before; not of the first. */
  readonly onGap?: (ms: number) => void;
}

const agent = new Agent({ keepAlive: true });

/** Posts a request and reads its event stream as a plain client would; fails when it does not end well. */
export function measureStream({ url, body, key, leaveAfter, onGap }: StreamRequest): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const headers = {
      Accept: 'text/event-stream',
      'Content-Type': 'application/json',
      ...(key ? { Authorization: `Bearer ${key}` } : {}),
    };
    const outgoing = request(url, { method: 'POST', agent, headers }, (incoming) => {
      const decoder = new SseDecoder();
      let tokens = 0;
      let firstTokenMs = Number.NaN;
      let text = '';
      let lastTokenAt = Number.NaN;
      let failure: string | undefined;
      incoming.on('data', (chunk: Buffer) => {
        for (const message of decoder.push(chunk)) {
          if (message.event === 'token') {
            const now = performance.now();
            if (tokens++ === 0) firstTokenMs = now - started;
            else onGap?.(now - lastTokenAt);
            lastTokenAt = now;
            text += (JSON.parse(message.data) as { t: string }).t;
            if (tokens === leaveAfter) {
              outgoing.destroy();
              resolve({ tokens, firstTokenMs, totalMs: performance.now() - started, text });
              return;
            }
          } else if (message.event === 'error') failure = message.data;
        }
      });
      incoming.on('end', () => {
        if (incoming.statusCode !== 200 || failure)
          reject(new Error(`${url}: status ${incoming.statusCode} ${failure ?? ''}`));
        else resolve({ tokens, firstTokenMs, totalMs: performance.now() - started, text });
      });
      incoming.on('error', (error) => (leaveAfter === undefined ? reject(error) : undefined));
    });
    outgoing.on('error', (error) => (leaveAfter === undefined ? reject(error) : undefined));
    outgoing.end(JSON.stringify(body));
  });
}

/** Closes what is kept open for the next request. */
export function closeConnections(): void {
  agent.destroy();
}
