import type { MemoryFigures, Worker } from '@rbee/protocol';
import { Counter, Gauge, Registry } from 'prom-client';

/** How a download ended, as the metrics count it. */
export interface EndedDownload {
  readonly source: string;
  readonly result: string;
  /** Bytes that came over the network, those of attempts that failed included. */
  readonly receivedBytes: number;
}

const PARTS = ['weights', 'kv_cache', 'compute'] as const;

/** What a hive counts and measures, in the text format of Prometheus. Labels take few values: a model, a state, a result. */
export class HiveMetrics {
  private readonly registry = new Registry();
  private readonly estimated = this.memoryGauge(
    'estimated',
    'Memory that a model needs by its header, at the last start.',
  );
  private readonly used = this.memoryGauge('used', 'Memory that a model took when it was last loaded.');
  private readonly downloads = this.counter('downloads_total', 'Downloads that ended.', ['source', 'result']);
  private readonly bytes = this.counter('download_bytes_total', 'Bytes of models that were received.', ['source']);
  private readonly complete = this.counter('models_downloaded_total', 'Models that were downloaded whole.', []);

  constructor() {
    const registers = [this.registry];
    new Gauge({
      name: 'process_resident_memory_bytes',
      help: 'Resident memory of the hive.',
      registers,
      collect() {
        this.set(process.memoryUsage.rss());
      },
    });
  }

  /** What a model will need, as it was found before a worker was started. */
  noteEstimate(modelRef: string, figures: MemoryFigures): void {
    setMemory(this.estimated, modelRef, figures);
  }

  /** What a worker says that its model took. */
  noteUsed(modelRef: string, figures: MemoryFigures): void {
    setMemory(this.used, modelRef, figures);
  }

  noteDownload({ source, result, receivedBytes }: EndedDownload): void {
    this.downloads.inc({ source, result });
    this.bytes.inc({ source }, receivedBytes);
    if (result === 'complete') this.complete.inc();
  }

  /** The model is not here any more. */
  forgetModel(modelRef: string): void {
    for (const gauge of [this.estimated, this.used]) {
      for (const part of PARTS) gauge.remove({ model: modelRef, part });
    }
  }

  /** Counts the workers whenever metrics are asked for. At most once. */
  watchWorkers(list: () => readonly Pick<Worker, 'state' | 'backend' | 'device'>[]): void {
    new Gauge({
      name: 'rbee_hive_workers_total',
      help: 'Workers by state.',
      labelNames: ['state', 'backend', 'device'],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const { state, backend, device } of list()) this.inc({ state, backend, device });
      },
    });
  }

  /** Reads a figure whenever metrics are asked for. `name` without `rbee_hive_`; each name once. */
  watch(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `rbee_hive_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** Everything, as `GET /metrics` answers it. */
  render(): Promise<string> {
    return this.registry.metrics();
  }

  private memoryGauge(which: 'estimated' | 'used', help: string): Gauge<'model' | 'part'> {
    const name = `rbee_hive_model_memory_${which}_bytes`;
    return new Gauge({ name, help, labelNames: ['model', 'part'], registers: [this.registry] });
  }

  private counter<T extends string>(name: string, help: string, labelNames: T[]): Counter<T> {
    return new Counter({ name: `rbee_hive_${name}`, help, labelNames, registers: [this.registry] });
  }
}

function setMemory(gauge: Gauge<'model' | 'part'>, model: string, figures: MemoryFigures): void {
  for (const part of PARTS) gauge.set({ model, part }, figures[`${part}_bytes`]);
}
