import { describe, expect, it } from '@jest/globals';
import { type Narration, narrationSchema, VERSION } from '@rbee/protocol';
import { createLogger } from './logger.js';
import { createNarrator, type NarratorOptions } from './narrator.js';
import { ManualClock } from './testing/manual-clock.js';

function start(fields?: NarratorOptions['fields']) {
  const clock = new ManualClock(5000);
  const lines: string[] = [];
  const events: Narration[] = [];
  const log = createLogger({
    service: 'rbee-hive',
    level: 'debug',
    destinations: [{ write: (line) => void lines.push(line) }],
  });
  const narrate = createNarrator({ service: 'rbee-hive', clock, log, deliver: (event) => events.push(event), fields });
  return { narrate, events, lines };
}

const spoken = { actor: 'rbee-hive', action: 'worker_start', target: 'worker-1', human: 'starting worker' };

describe('a narration', () => {
  it('is delivered as an event and logged', () => {
    const { narrate, events, lines } = start({ job_id: 'j-1' });
    narrate({ ...spoken, level: 'warn', duration_ms: 7 });
    const event = {
      type: 'narration',
      ...spoken,
      job_id: 'j-1',
      level: 'warn',
      duration_ms: 7,
      emitted_by: `rbee-hive@${VERSION}`,
      emitted_at_ms: 5000,
    };
    expect(events).toEqual([event]);
    expect(narrationSchema.parse(JSON.parse(JSON.stringify(events[0])))).toMatchObject(event);
    const { human: msg, type: _type, ...rest } = event;
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ ...rest, msg, service: 'rbee-hive' });
  });

  it('is of level info where none is given', () => {
    const { narrate, lines, events } = start();
    narrate(spoken);
    expect(JSON.parse(lines[0] ?? '').level).toBe('info');
    expect(events[0]).not.toHaveProperty('level');
  });

  it.each([
    ['x'.repeat(100), 'x'.repeat(100)],
    ['x'.repeat(101), `${'x'.repeat(99)}…`],
    [`${'x'.repeat(98)}😀😀`, `${'x'.repeat(98)}…`],
  ])('has at most 100 characters, all of them whole', (human, expected) => {
    const { narrate, events } = start();
    narrate({ ...spoken, human });
    expect(events[0]?.human).toBe(expected);
  });

  it('holds no secret', () => {
    const { narrate, events, lines } = start();
    narrate({ ...spoken, human: 'cloning https://me:s3cret@host/repo' });
    expect(events[0]?.human).toBe('cloning https://me:[REDACTED]@host/repo');
    expect(lines.join('')).not.toContain('s3cret');
  });

  it('holds no secret in any of its fields', () => {
    const { narrate, events, lines } = start({ job_id: 'token=s3cret-1' });
    narrate({ ...spoken, target: 'https://me:s3cret-2@host/repo', model_ref: 'Bearer s3cret-3' });
    expect(events[0]).toMatchObject({
      job_id: 'token=[REDACTED]',
      target: 'https://me:[REDACTED]@host/repo',
      model_ref: 'Bearer [REDACTED]',
    });
    expect(JSON.stringify(events) + lines.join('')).not.toContain('s3cret');
  });
});
