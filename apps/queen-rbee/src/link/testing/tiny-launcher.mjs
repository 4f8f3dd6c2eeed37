// The commands of rbee-hive that a queen runs on a node, over the tiny hive; the file ~/behaviour says what it does.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const [command, ...args] = process.argv.slice(2);
const optionOf = (flag) => args[args.indexOf(flag) + 1];
const behaviour = readFileSync(join(homedir(), 'behaviour'), 'utf8').trim();
const startTimeOf = (pid) => {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21];
  } catch {
    // It has ended.
    return undefined;
  }
};

if (behaviour === 'refuses') {
  process.stderr.write('[rbee-hive] Error: the output file cannot be written: ENOSPC\n\n  free some space\n');
  process.exitCode = 1;
} else if (command === 'daemon') {
  const logs = join(homedir(), '.rbee', 'logs');
  mkdirSync(logs, { recursive: true });
  const output = openSync(join(logs, 'rbee-hive.out.log'), 'a');
  const program = fileURLToPath(new URL('../../testing/tiny-hive.mjs', import.meta.url));
  const hiveArgs = [program, behaviour, 'daemon', '--port', optionOf('--port'), ...args];
  const hive = spawn(process.execPath, hiveArgs, { detached: true, stdio: ['ignore', output, output] });
  hive.unref();
  writeFileSync(join(homedir(), 'started'), `${hive.pid}\n`, { flag: 'a' });
  // A test lets it wait with its answer.
  while (existsSync(join(homedir(), 'hold-answer'))) await delay(5);
  process.stdout.write(`${JSON.stringify({ pid: hive.pid, start_time: startTimeOf(hive.pid) })}\n`);
} else if (command === 'stop') {
  const pid = Number(optionOf('--pid'));
  const runs = () => startTimeOf(pid) === optionOf('--start-time');
  const was_running = runs();
  if (was_running) process.kill(pid, behaviour === 'stubborn' ? 'SIGKILL' : 'SIGTERM');
  const hasEnded = () => !runs() || readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[2] === 'Z';
  while (!hasEnded()) await delay(5);
  process.stdout.write(`${JSON.stringify({ ended: true, killed: behaviour === 'stubborn', was_running })}\n`);
}
