import { randomUUID } from 'node:crypto';
import {
  type Call,
  type Clock,
  callJson,
  callText,
  type Handlers,
  type Logger,
  Reply,
  type Timeouts,
} from '@rbee/daemon-kit';
import { hiveRoutes, type queenRoutes, RbeeError, VERSION } from '@rbee/protocol';
import type { Leases } from './lease/leases.js';
import { type ModelRouteParts, modelHandlers } from './model-routes.js';
import { checkCallerVersion } from './node/check-version.js';
import type { LiveNode } from './node/live-node.js';
import type { Nodes } from './node/nodes.js';
import { type NodeRouteParts, nodeHandlers } from './node-routes.js';
import type { RunningTasks } from './task/running-tasks.js';
import { Task } from './task/task.js';
import { CollectedOutput, StreamedOutput } from './task/task-output.js';
import type { TaskRunner } from './task/task-runner.js';

export interface RouteParts extends Omit<NodeRouteParts, 'clock' | 'nodes'>, Omit<ModelRouteParts, 'clock' | 'nodes'> {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly log: Logger;
  readonly pid: number;
  readonly ephemeral: boolean;
  readonly nodes: Nodes;
  readonly running: RunningTasks;
  readonly runner: TaskRunner;
  readonly leases: Leases;
}

/** The handlers of the queen's routes. */
export function queenHandlers(parts: RouteParts): Handlers<typeof queenRoutes> {
  const { clock, timeouts, log, pid, ephemeral, nodes, running, runner, leases } = parts;
  return {
    ...nodeHandlers(parts),
    ...modelHandlers(parts),
    health: async () => ({ status: 'ok', version: VERSION, pid }),

    async runTask(call, stream) {
      checkCallerVersion(call.headers['x-rbee-version']);
      const request = call.body;
      const id = request.job_id ?? `job-${randomUUID()}`;
      running.checkId(id);
      const { correlationId, signal: client } = call;
      const ticket = running.nextTicket();
      const task = new Task({
        id,
        ticket,
        request,
        correlationId,
        deadline: toDeadline(call, clock),
        client,
        clock,
        log,
      });
      running.add(task);
      try {
        await runner.admit(task);
        const headers = { 'X-Request-Id': id };
        const output = request.stream
          ? new StreamedOutput(stream, { hold: !call.acceptsEventStream, headers, log: task.log })
          : new CollectedOutput(id);
        await runner.run(task, output);
        return output instanceof CollectedOutput && output.result ? new Reply(output.result, 200, headers) : undefined;
      } finally {
        running.remove(task);
      }
    },

    async listTasks() {
      throw notBuilt();
    },

    async showTask() {
      throw notBuilt();
    },

    async taskEvents() {
      throw notBuilt();
    },

    async spawnWorker() {
      throw notBuilt();
    },

    async pinWorker() {
      throw notBuilt();
    },

    cancelTask: (call) => running.cancel(call.params.job_id),

    async listWorkers(call) {
      const { node, capability } = call.query;
      const selected = nodes.select(node);
      await nodes.glance(selected);
      const workers = selected.flatMap((each) => each.listWorkers());
      const fits = (capabilities: string[]) =>
        capability === undefined || capabilities.some((one) => one === capability || one.startsWith(`${capability}:`));
      return { workers: workers.filter(({ capabilities }) => fits(capabilities)) };
    },

    async workersHealth(call) {
      const { node } = call.query;
      const selected = nodes.select(node);
      await nodes.look(selected);
      if (node !== undefined) requireReachable(nodes.get(node));
      const listed = selected.flatMap((each) => each.listWorkers());
      const workers = listed.map(({ worker_id, state }) => ({ worker_id, state, ready: state === 'idle' }));
      const ill = workers.some(({ state }) => state === 'unhealthy' || state === 'failed' || state === 'stale');
      return { status: ill ? 'degraded' : 'ok', workers };
    },

    async shutdownWorker(call) {
      const { worker_id } = call.body;
      await nodes.look(nodes.all());
      const node = nodes.findByWorker(worker_id);
      if (!node) throw workerNotFound(worker_id);
      const { message } = await callJson(node.link.hive, hiveRoutes.shutdownWorker, {
        params: { worker_id },
        correlationId: call.correlationId,
        signal: call.signal,
        timeoutMs: timeouts.call,
      });
      return { success: true, message };
    },

    async logs(call, stream) {
      const { node: name, follow, lines, worker_id } = call.query;
      const node = nodes.get(name);
      await node.link.reach(() => undefined, call.signal);
      if (!(await node.link.findHive(call.signal))) throw noHiveRuns(node);
      const { correlationId, signal } = call;
      const body = await callText(node.link.hive, hiveRoutes.logs, {
        query: { follow: follow ? 'true' : 'false', lines, worker_id },
        correlationId,
        signal,
        timeoutMs: timeouts.call,
      });
      const decoder = new TextDecoder();
      for await (const chunk of body) {
        if (!stream.write(decoder.decode(chunk, { stream: true }))) await stream.drained(signal);
      }
    },

    async lease(call, stream) {
      const { id, over } = leases.open();
      const leave = () => leases.release(id, 'the client has gone');
      call.signal.addEventListener('abort', leave, { once: true });
      if (call.signal.aborted) leave();
      stream.send({ type: 'leased', lease_id: id, version: VERSION, pid, ephemeral });
      stream.send({ type: 'end', reason: await over });
    },

    releaseLease: async (call) => ({ ending: leases.release(call.params.lease_id, 'released by the client') }),
  };
}

function notBuilt(): RbeeError {
  return new RbeeError('NOT_FOUND', 'not built yet');
}

/** The task's own limit counts; a header can make it shorter, never longer. */
function toDeadline(call: Call<typeof queenRoutes.runTask>, clock: Clock): number | undefined {
  const { timeout_seconds } = call.body;
  if (timeout_seconds === undefined) return call.deadline;
  const own = Math.round(clock.now() + timeout_seconds * 1000);
  if (call.deadline === undefined) return own;
  if (call.deadline > own) {
    call.log.warn(
      { header_deadline: new Date(call.deadline).toISOString() },
      "a deadline header later than the task's own was ignored",
    );
  }
  return Math.min(own, call.deadline);
}

/** Nothing is known of workers on a machine that does not answer: that is not the same as being well. */
function requireReachable({ name, standing }: LiveNode): void {
  if (standing.status === 'reachable') return;
  const { reason = 'it has not answered yet' } = standing;
  throw new RbeeError('CONNECTION_TIMEOUT', `${name} cannot be reached: ${reason}`, {
    details: { node: name },
    suggestion: `see how it stands: rbee-keeper hive status --node ${name}`,
  });
}

function workerNotFound(workerId: string): RbeeError {
  return new RbeeError('WORKER_NOT_FOUND', `no node has a worker ${workerId}`, {
    details: { worker_id: workerId },
    suggestion: 'see which workers there are: rbee-keeper workers list',
  });
}

function noHiveRuns(node: LiveNode): RbeeError {
  const { url } = node.link.hive.transport.peer;
  const port = Number(new URL(url).port);
  const elsewhere = node.link.kind === 'local' ? '' : ` on ${node.name}`;
  return new RbeeError(
    'CONNECTION_TIMEOUT',
    `no hive runs on ${node.name} (port ${port} refuses), so it has no logs to show`,
    {
      details: { node: node.name, port },
      suggestion: `start one: rbee-keeper hive start --node ${node.name}; earlier logs are in ~/.rbee/logs${elsewhere}`,
    },
  );
}
