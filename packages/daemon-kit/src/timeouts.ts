import { type Setting, setting, settingSchema } from './settings.js';

const DEFAULTS_MS = {
  connect: 5_000,
  call: 10_000,
  ssh_connect: 10_000,
  ssh_command: 30_000,
  ssh_keep_alive: 1_250,
  hive_connect: 10_000,
  hive_silence: 4_000,
  install_step: 1_200_000,
  hive_healthy: 60_000,
  local_hive_healthy: 10_000,
  queen_healthy: 30_000,
  queen_probe: 500,
  spawn_answer: 35_000,
  worker_startup: 30_000,
  model_load: 300_000,
  ready_poll: 2_000,
  busy_retry: 1_000,
  first_byte: 300_000,
  stall: 60_000,
  download_stall: 60_000,
  download_retry: 100,
  cancel_ack: 5_000,
  health_poll: 30_000,
  health_call: 5_000,
  heartbeat: 30_000,
  heartbeat_stale: 120_000,
  idle_worker: 300_000,
  failed_worker_kept: 300_000,
  shutdown_ack: 5_000,
  drain: 30_000,
  kill: 10_000,
  hive_shutdown: 30_000,
  queen_waits_for_hives: 35_000,
  keeper_waits_for_queen: 40_000,
  keep_alive: 10_000,
  inference: 300_000,
  owner_lost: 120_000,
  slot_wait: 300_000,
  batch_ageing: 30_000,
  canary: 60_000,
  canary_answer: 20_000,
  restart_wait: 1_000,
  stale_busy: 300_000,
  task_kept: 600_000,
  client_returns: 60_000,
  reader_stall: 60_000,
} as const;

export type TimeoutName = keyof typeof DEFAULTS_MS;

/** Every time limit in milliseconds, by name. */
export type Timeouts = Readonly<Record<TimeoutName, number>>;

/** The default limits; `busy_retry` and `download_retry` are the first of waits of which each is twice the one before. */
export const DEFAULT_TIMEOUTS: Timeouts = DEFAULTS_MS;

/** Settings for every time limit: key `timeouts.<name>` in the file, `RBEE_T_<NAME>` in the environment. */
export const timeoutSettings = Object.fromEntries(
  Object.entries(DEFAULTS_MS).map(([name, ms]) => [
    name,
    setting<number>({
      schema: settingSchema.duration,
      default: ms,
      env: [`RBEE_T_${name.toUpperCase()}`],
      file: `timeouts.${name}`,
    }),
  ]),
) as unknown as Readonly<Record<TimeoutName, Setting<number>>>;
