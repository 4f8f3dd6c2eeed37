import { describe, expect, it } from '@jest/globals';
import { HiveMetrics } from './hive-metrics.js';

const figures = {
  weights_bytes: 100,
  kv_cache_bytes: 20,
  compute_bytes: 3,
  total_bytes: 123,
  context_size: 512,
  slots: 1,
};

/** The values without their help and type lines. */
async function read(metrics: HiveMetrics): Promise<string[]> {
  const lines = (await metrics.render()).split('\n');
  return lines.filter((line) => line !== '' && !line.startsWith('#') && !line.startsWith('process_'));
}

describe('HiveMetrics', () => {
  it('tells what a model should take and what it took, until the model is gone', async () => {
    const metrics = new HiveMetrics();
    metrics.noteEstimate('hf:org/one', figures);
    metrics.noteUsed('hf:org/one', { ...figures, compute_bytes: 2 });
    metrics.noteUsed('hf:org/two', figures);
    metrics.noteUsed('hf:org/two', { ...figures, kv_cache_bytes: 40 });
    expect(await read(metrics)).toEqual(
      expect.arrayContaining([
        'rbee_hive_model_memory_estimated_bytes{model="hf:org/one",part="weights"} 100',
        'rbee_hive_model_memory_estimated_bytes{model="hf:org/one",part="kv_cache"} 20',
        'rbee_hive_model_memory_estimated_bytes{model="hf:org/one",part="compute"} 3',
        'rbee_hive_model_memory_used_bytes{model="hf:org/one",part="compute"} 2',
        'rbee_hive_model_memory_used_bytes{model="hf:org/two",part="kv_cache"} 40',
      ]),
    );
    metrics.forgetModel('hf:org/one');
    metrics.forgetModel('hf:org/unknown');
    expect((await read(metrics)).join('\n')).not.toContain('hf:org/one');
    expect((await read(metrics)).join('\n')).toContain('hf:org/two');
  });

  it('counts downloads and their bytes by source', async () => {
    const metrics = new HiveMetrics();
    metrics.noteDownload({ source: 'hub', result: 'failed', receivedBytes: 10 });
    metrics.noteDownload({ source: 'hub', result: 'complete', receivedBytes: 90 });
    metrics.noteDownload({ source: 'import', result: 'complete', receivedBytes: 7 });
    expect(await read(metrics)).toEqual([
      'rbee_hive_downloads_total{source="hub",result="failed"} 1',
      'rbee_hive_downloads_total{source="hub",result="complete"} 1',
      'rbee_hive_downloads_total{source="import",result="complete"} 1',
      'rbee_hive_download_bytes_total{source="hub"} 100',
      'rbee_hive_download_bytes_total{source="import"} 7',
      'rbee_hive_models_downloaded_total 2',
    ]);
  });

  it('counts workers as they are when it is asked', async () => {
    const metrics = new HiveMetrics();
    const idle = { state: 'idle', backend: 'cpu', device: 0 } as const;
    const workers: Parameters<HiveMetrics['watchWorkers']>[0] extends () => readonly (infer W)[] ? W[] : never = [];
    metrics.watchWorkers(() => workers);
    metrics.watch('download_active', 'Downloads that run.', () => workers.length);
    workers.push(idle, idle, { ...idle, state: 'busy', backend: 'cuda', device: 1 });
    const seen = async () => (await read(metrics)).filter((line) => /workers|active/.test(line));
    expect(await seen()).toEqual([
      'rbee_hive_workers_total{state="idle",backend="cpu",device="0"} 2',
      'rbee_hive_workers_total{state="busy",backend="cuda",device="1"} 1',
      'rbee_hive_download_active 3',
    ]);
    workers.length = 0;
    expect(await seen()).toEqual(['rbee_hive_download_active 0']);
  });

  it('describes each metric, and keeps hives of one process apart', async () => {
    const text = await new HiveMetrics().render();
    expect(text).toMatch(/# HELP process_resident_memory_bytes .+\n# TYPE process_resident_memory_bytes gauge\n/);
    const [, resident] = /^process_resident_memory_bytes (\d+)$/m.exec(text) ?? [];
    expect(Number(resident)).toBeGreaterThan(10 * 1024 * 1024);
    expect(await new HiveMetrics().render()).toContain('rbee_hive_models_downloaded_total 0');
  });
});
