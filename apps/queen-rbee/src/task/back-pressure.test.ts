import { request } from 'node:http';
import { describe, expect, it } from '@jest/globals';
import { SseDecoder } from '@rbee/protocol';
import { ScriptedHive } from '../testing/scripted-hive.js';
import { ScriptedWorker } from '../testing/scripted-worker.js';
import { TestQueen } from '../testing/test-queen.js';

const TOKENS = 20_000;
const TEXT = 'x'.repeat(1_000);

describe('a client that reads slowly', () => {
  it('slows the worker down instead of filling the memory, and misses nothing', async () => {
    const hive = await new ScriptedHive().start();
    const worker = await hive.addWorker(new ScriptedWorker());
    let sent = 0;
    worker.script = async ({ stream, signal }) => {
      for (; sent < TOKENS; sent++) {
        const keptUp = stream.send({ type: 'token', t: TEXT, i: sent, ids: undefined });
        if (!keptUp) await stream.drained(signal);
      }
      stream.send({ type: 'end', tokens_out: TOKENS, decode_time_ms: 1, stop_reason: 'EOS' });
    };
    const queen = await TestQueen.start({ hivePort: hive.port, timeouts: { stall: 1_000 } });
    try {
      const headers = { Accept: 'text/event-stream' };
      const client = request(`${queen.url}/v2/tasks`, { method: 'POST', headers });
      client.end(JSON.stringify({ prompt: 'p' }));
      const response = await new Promise<AsyncIterable<Uint8Array>>((resolve) => client.once('response', resolve));
      // Nothing is read until the worker is stuck, longer than a stall may last.
      for (let before = -1; before !== sent; ) {
        before = sent;
        await new Promise((resolve) => setTimeout(resolve, 1_200));
      }
      expect(sent).toBeGreaterThan(0);
      expect(sent).toBeLessThan(TOKENS);
      const decoder = new SseDecoder();
      let next = 0;
      const others: (string | undefined)[] = [];
      for await (const chunk of response) {
        for (const { event, data } of decoder.push(chunk)) {
          if (event === 'token') expect((JSON.parse(data) as { i: number }).i).toBe(next++);
          else others.push(event ?? data);
        }
      }
      expect(next).toBe(TOKENS);
      expect(others.slice(-2)).toEqual(['end', '[DONE]']);
    } finally {
      await queen.stop();
      await hive.stop();
    }
  });
});
