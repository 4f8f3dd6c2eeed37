import {
  callStream,
  DEFAULT_TIMEOUTS,
  httpTransport,
  type IncomingStream,
  type Logger,
  Secret,
  silentLogger,
  systemClock,
  type Target,
} from '@rbee/daemon-kit';
import { type InferenceEvent, type InferenceRequestInput, type Narration, workerRoutes } from '@rbee/protocol';
import { WorkerApp } from '../app.js';
import type { WorkerSettings } from '../config.js';
import { bundledModel } from '../engine/testing/bundled-model.js';

export interface TestWorker {
  readonly app: WorkerApp;
  readonly target: Target;
  /** What was narrated outside of jobs. */
  readonly narrated: Narration[];
  stop(): Promise<void>;
}

/** A worker in this process, with the real engine and the bundled model, on a free port. */
export async function startTestWorker(
  settings: Partial<WorkerSettings> = {},
  log: Logger = silentLogger,
): Promise<TestWorker> {
  const narrated: Narration[] = [];
  const key = settings.key;
  const app = await WorkerApp.start({
    environment: { clock: systemClock },
    settings: {
      workerId: 'worker-test',
      modelPath: bundledModel(),
      modelRef: 'builtin:honeycomb',
      backend: 'cpu',
      device: 0,
      host: '127.0.0.1',
      port: 0,
      callbackUrl: undefined,
      key,
      keyFile: undefined,
      slots: 2,
      contextSize: undefined,
      logLevel: 'silent',
      timeouts: DEFAULT_TIMEOUTS,
      ...settings,
    },
    log,
    output: { write: (line) => narrated.push(JSON.parse(line) as Narration) },
    pid: process.pid,
    threadPoolSize: '1',
  });
  const transport = httpTransport({ name: 'worker', url: app.url });
  return {
    app,
    target: { transport, clock: systemClock, key },
    narrated,
    async stop() {
      await app.stop('test');
      transport.close();
    },
  };
}

export const KEY = new Secret('k3y with spaces');

/** An inference whose events are read one by one. */
export async function openInference(
  { target }: TestWorker,
  body: InferenceRequestInput,
  signal?: AbortSignal,
): Promise<{ stream: IncomingStream; events: AsyncGenerator<InferenceEvent, void, void> }> {
  const stream = await callStream(target, workerRoutes.infer, { body, signal });
  return { stream, events: readEvents(stream) };
}

async function* readEvents(stream: IncomingStream): AsyncGenerator<InferenceEvent, void, void> {
  for await (const message of stream.messages) {
    const event = JSON.parse(message.data) as InferenceEvent;
    if (event.type !== message.event) throw new Error(`the event ${message.event} says it is ${event.type}`);
    yield event;
  }
}

/** All events of an inference. */
export async function infer(worker: TestWorker, body: InferenceRequestInput): Promise<InferenceEvent[]> {
  const { events } = await openInference(worker, body);
  const all: InferenceEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

export function eventsOf<T extends InferenceEvent['type']>(events: readonly InferenceEvent[], type: T) {
  return events.filter((event): event is Extract<InferenceEvent, { type: T }> => event.type === type);
}

export function textOf(events: readonly InferenceEvent[]): string {
  return eventsOf(events, 'token')
    .map((event) => event.t)
    .join('');
}
