import { PROGRAMS, type Setting, setting, settingType } from './setting.js';

/** Of each limit the milliseconds that it has by default, and until when or how long it lasts. */
const LIMITS = {
  connect: [5_000, 'a connection to another process is made'],
  call: [10_000, 'a call between services is answered'],
  ssh_connect: [
    10_000,
    'one attempt of an SSH connection stands, authentication included; and a machine that was lost in the middle of an answer is back',
  ],
  ssh_command: [30_000, 'a command on a node ends, where no other limit is named'],
  ssh_keep_alive: [
    1_250,
    'pause between two questions whether an SSH connection stands; after three without an answer it is given up',
  ],
  hive_connect: [10_000, 'one attempt to reach a hive that should run'],
  hive_silence: [4_000, 'longest silence of a hive before the queen takes it for lost'],
  install_step: [1_200_000, 'one step of an installation on a node'],
  hive_healthy: [60_000, 'a started hive of another machine answers'],
  local_hive_healthy: [10_000, 'a started hive of this machine answers'],
  queen_healthy: [
    30_000,
    'a queen that rbee-keeper started answers; one that was lost in the middle of a task is found again',
  ],
  queen_probe: [500, 'the first look whether a queen runs'],
  spawn_answer: [35_000, 'the hive answers to the start of a worker'],
  worker_startup: [30_000, 'a worker reports after its process was started'],
  model_load: [300_000, 'a model is loaded'],
  ready_poll: [
    2_000,
    'pause between two looks whether a worker is ready; for twice as long a new worker is not ended for another',
  ],
  busy_retry: [1_000, 'first of the waits for a busy worker; the next ones are two and four times as long'],
  first_byte: [300_000, 'the first event of an answer comes'],
  stall: [60_000, 'longest pause between two tokens'],
  download_stall: [
    60_000,
    'longest silence of the hub, or of the node that a model is copied from, before an attempt has failed',
  ],
  download_retry: [100, 'first of the waits between attempts of a download; each further one is twice as long'],
  cancel_ack: [5_000, 'a cancellation is acknowledged'],
  health_poll: [30_000, 'pause between two health checks of a worker'],
  health_call: [5_000, 'one health check is answered'],
  heartbeat: [30_000, 'pause between two heartbeats of a worker'],
  heartbeat_stale: [120_000, 'a worker of which nothing is heard is asked whether it lives'],
  idle_worker: [300_000, 'an idle worker is ended'],
  failed_worker_kept: [300_000, 'the hive tells why a worker has failed'],
  shutdown_ack: [5_000, 'a worker acknowledges its shutdown'],
  drain: [30_000, 'running jobs may end during a shutdown'],
  kill: [10_000, 'a process ends after SIGTERM, before SIGKILL'],
  hive_shutdown: [30_000, 'the whole shutdown of a hive'],
  queen_waits_for_hives: [35_000, 'hives end when their queen ends'],
  keeper_waits_for_queen: [40_000, 'the queen ends when its last command ends'],
  keep_alive: [10_000, 'pause after which an event stream shows that it is alive'],
  inference: [300_000, 'a task without --timeout'],
  owner_lost: [120_000, 'a hive ends when its queen is silent'],
  slot_wait: [300_000, 'a task waits for a free slot, or for room for its worker'],
  batch_ageing: [30_000, 'a task of priority batch waits before it is served like an interactive one'],
  canary: [60_000, 'from one canary of a worker to the next'],
  canary_answer: [20_000, 'a worker has for the one token of a canary'],
  restart_wait: [1_000, 'before a lost worker is started again; each further time twice as long, at most 1 min'],
  stale_busy: [300_000, 'a worker that does not answer keeps the jobs that it has; then it is forgotten'],
  task_kept: [600_000, 'an ended task stays listed, and its events stay there for a client that comes back'],
  client_returns: [60_000, 'a task that a new queen took over waits for its client'],
  reader_stall: [60_000, 'a client may leave the events of its task unread'],
} as const;

export type TimeoutName = keyof typeof LIMITS;

/** Every time limit in milliseconds, by name. */
export type Timeouts = Readonly<Record<TimeoutName, number>>;

const NAMES = Object.keys(LIMITS) as TimeoutName[];

/** The default limits; `busy_retry` and `download_retry` are the first of waits of which each is twice the one before. */
export const DEFAULT_TIMEOUTS: Timeouts = Object.freeze(
  Object.fromEntries(NAMES.map((name) => [name, LIMITS[name][0]])) as Record<TimeoutName, number>,
);

/** Settings for every time limit: key `timeouts.<name>` in the file, `RBEE_T_<NAME>` in the environment. */
export const timeoutSettings = Object.fromEntries(
  NAMES.map((name) => {
    const [ms, describe] = LIMITS[name];
    return [
      name,
      setting<number>({
        ...settingType.duration,
        default: ms,
        env: [`RBEE_T_${name.toUpperCase()}`],
        file: `timeouts.${name}`,
        describe,
        readBy: PROGRAMS,
        reload: 'live',
      }),
    ];
  }),
) as unknown as Readonly<Record<TimeoutName, Setting<number>>>;
