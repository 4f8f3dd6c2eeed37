/**
 * A hive with scripted workers in a process of its own, so that a test can kill it: starts as many ready workers as it is told,
 * and writes what they answered as one line. Usage: killable-hive.ts OPTIONS, where OPTIONS are those of `TestHive.start`,
 * with `spawns`: the requests for its workers.
 */
import { TestHive, type TestHiveOptions } from './test-hive.js';

const { spawns = [{}], ...options } = JSON.parse(process.argv[2] ?? '{}') as TestHiveOptions & { spawns?: object[] };
const hive = await TestHive.start(options);
const answers = [];
for (const request of spawns) answers.push(await hive.spawn(request));
if (options.script === undefined) for (const { worker_id } of answers) await hive.startEvents(worker_id);
process.stdout.write(`${JSON.stringify({ home: hive.home, answers })}\n`);
