import { type Clock, listen, serve, silentLogger } from '@rbee/daemon-kit';
import { type Heartbeat, hiveRoutes, RbeeError, type ReadyCallback } from '@rbee/protocol';

/** The two routes of a hive that a worker calls, with everything they were told. */
export interface FakeHive {
  readonly url: string;
  readonly callbacks: ReadyCallback[];
  readonly heartbeats: Heartbeat[];
  /** Authorization headers, in the order of the calls. */
  readonly keys: (string | undefined)[];
  /** Makes the next heartbeats answer 404, as a hive does that was restarted. */
  forget(): void;
  /** Resolves as soon as what was told satisfies a condition. */
  until(condition: (hive: FakeHive) => boolean): Promise<void>;
  close(): Promise<void>;
}

export async function startFakeHive(clock: Clock, port = 0): Promise<FakeHive> {
  const callbacks: ReadyCallback[] = [];
  const heartbeats: Heartbeat[] = [];
  const keys: (string | undefined)[] = [];
  const waiting = new Set<() => void>();
  let known = true;
  const { workerReady, heartbeat } = hiveRoutes;
  const told = (authorization: string | string[] | undefined): void => {
    keys.push(authorization as string | undefined);
    setImmediate(() => {
      for (const check of waiting) check();
    });
  };
  const app = serve(
    { workerReady, heartbeat },
    {
      async workerReady(call) {
        callbacks.push(call.body);
        known = true;
        told(call.headers.authorization);
        return { message: 'welcome' };
      },
      async heartbeat(call) {
        heartbeats.push(call.body);
        told(call.headers.authorization);
        if (!known) throw new RbeeError('WORKER_NOT_FOUND', 'no such worker');
        return { message: 'thanks' };
      },
    },
    { clock, log: silentLogger },
  );
  const listening = await listen('fake-hive', app, { host: '127.0.0.1', port });
  const hive: FakeHive = {
    url: listening.url,
    callbacks,
    heartbeats,
    keys,
    forget: () => {
      known = false;
    },
    until: (condition) =>
      new Promise((resolve) => {
        const check = (): void => {
          if (!condition(hive)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    close: () => listening.close(0),
  };
  return hive;
}
