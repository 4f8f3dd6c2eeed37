import { describe, expect, it } from '@jest/globals';
import { RbeeError } from '@rbee/protocol';
import type { LoadReport } from './live-settings.js';
import { createLogger } from './logger.js';
import type { Spoken } from './narrator.js';
import { tellLoad } from './tell-load.js';

const REPORT: LoadReport = {
  id: '6f1c0c1e-0000-4000-8000-000000000000',
  kind: 'load',
  file: '/home/me/.config/rbee/config.toml',
  durationMs: 3.2,
  configured: 5,
  overridden: [],
  changed: [],
  needsRestart: [],
};

function tell(report: Partial<LoadReport>, narrated = true) {
  const spoken: Spoken[] = [];
  const lines: Record<string, unknown>[] = [];
  const destinations = [{ write: (line: string) => void lines.push(JSON.parse(line)) }];
  const log = createLogger({ service: 'rbee-hive', level: 'debug', destinations });
  const narrate = narrated ? { narrate: (event: Spoken) => void spoken.push(event) } : {};
  tellLoad({ ...REPORT, ...report }, { service: 'rbee-hive', log, ...narrate });
  for (const line of lines) expect(line).toMatchObject({ correlation_id: REPORT.id, file: report.file ?? REPORT.file });
  for (const { human } of spoken) expect(human.length).toBeLessThanOrEqual(100);
  return { spoken, lines };
}

describe('a load', () => {
  it('is narrated with its file by name and its duration, and logged with the path', () => {
    const overridden = [
      { key: 'queen.port', by: 'environment', source: 'RBEE_QUEEN_PORT', value: '7002', fileValue: '7001' } as const,
    ];
    const { spoken, lines } = tell({ overridden });
    expect(spoken).toEqual([
      {
        actor: 'rbee-hive',
        action: 'config_load',
        target: 'config.toml',
        human: 'configuration read from config.toml in 3 ms: 5 settings, 1 overridden',
        duration_ms: 3,
        correlation_id: REPORT.id,
      },
    ]);
    expect(lines).toMatchObject([
      { level: 'info', msg: 'the environment overrides the file', key: 'queen.port', source: 'RBEE_QUEEN_PORT' },
    ]);
    expect(lines[0]).toMatchObject({ value: '7002', file_value: '7001' });
  });

  it('is only logged where there is nobody to hear it', () => {
    const { lines } = tell({}, false);
    expect(lines).toMatchObject([{ level: 'info', action: 'config_load', msg: expect.stringContaining('5 settings') }]);
  });

  it('without a file is one of defaults', () => {
    const { spoken } = tell({ file: undefined as never, configured: 1 });
    expect(spoken[0]).toMatchObject({
      target: 'defaults',
      human: expect.stringContaining('no file in 3 ms: 1 setting'),
    });
  });
});

describe('a reload', () => {
  it('names what changed and what waits for a restart', () => {
    const changed = [{ key: 'limits.max_workers', from: '1', to: '2' }];
    const needsRestart = [{ key: 'queen.port', from: '8080', to: '8081' }];
    const { spoken, lines } = tell({ kind: 'reload', changed, needsRestart, file: `/etc/${'x'.repeat(90)}.toml` });
    expect(spoken[0]).toMatchObject({ action: 'config_reload', human: expect.stringContaining('in 3 ms: 1 change') });
    expect(lines).toMatchObject([
      { level: 'info', changed, needs_restart: needsRestart },
      { level: 'warn', ...needsRestart[0], msg: 'takes effect after a restart: queen.port' },
    ]);
  });

  it('that failed is an error that says that nothing changed', () => {
    const error = new RbeeError('CONFIG_INVALID', 'the configuration is not valid: x');
    const { spoken, lines } = tell({ kind: 'reload', error });
    expect(spoken[0]).toMatchObject({ level: 'error', human: expect.stringContaining('the old values stay') });
    expect(lines).toMatchObject([{ level: 'error', error: { error_code: 'CONFIG_INVALID' } }]);
  });
});
