import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Then } from '@cucumber/cucumber';
import type { OpenStream } from '../support/event-stream.js';
import { waitUntil } from '../support/wait.js';
import type { RbeeWorld } from '../support/world.js';

Then("the stream's correlation id is in the logs of queen, hive and worker", async function (this: RbeeWorld) {
  const id = String((this.notes.get('stream') as OpenStream).events[0]?.correlation_id);
  const folder = join(this.home, '.rbee/logs');
  const inLog = (prefix: string) =>
    readdirSync(folder)
      .filter((name) => name.startsWith(prefix))
      .some((name) =>
        readFileSync(join(folder, name), 'utf8')
          .split('\n')
          .some((line) => line.startsWith('{') && (JSON.parse(line) as Record<string, unknown>).correlation_id === id),
      );
  for (const prefix of ['queen-rbee.log', 'rbee-hive.log', 'worker-']) {
    await waitUntil(
      () => inLog(prefix),
      () => `${id} is in no line of ${prefix}`,
      5_000,
    );
  }
  for (const line of readFileSync(join(folder, 'rbee-hive.log'), 'utf8').split('\n')) {
    if (line.includes('"action"') && line.includes('"model_ref"'))
      assert.equal(JSON.parse(line).correlation_id, id, line);
  }
});

Then('the key of the worker is in no log and in no process list', async function (this: RbeeWorld) {
  const { workers } = (await (await this.askHive('/v1/workers/list')).json()) as { workers: { id: string }[] };
  const { api_key } = (await (await this.askHive(`/v1/workers/${workers[0]?.id}`)).json()) as {
    api_key: string;
  };
  assert(api_key.length >= 32);
  const logs = this.homes.flatMap((home) => {
    const folder = join(home, '.rbee/logs');
    return readdirSync(folder).map((name) => join(folder, name));
  });
  assert(logs.length >= 3, logs.join(', '));
  for (const log of logs) assert(!readFileSync(log, 'utf8').includes(api_key), `the key is in ${log}`);
  for (const { command } of this.findProcesses()) assert(!command.includes(api_key), 'the key is in a command');
});
