/**
 * A hive whose workers are scripted. It is built from the hive's own command line with another worker program, which no
 * flag, variable or file of an installation can bring about. Usage: scripted-hive.ts SCRIPT [arguments of the hive].
 */
import { processEnvironment } from '@rbee/daemon-kit';
import { runCli } from '../../apps/rbee-hive/src/cli.js';
import { THIS_INSTALLATION } from '../../apps/rbee-hive/src/installation.js';

const [script = '{}', ...args] = process.argv.slice(2);
// A machine without the worker's program, where the script says so.
const program = JSON.parse(script).noProgram === true ? 'not-installed.ts' : 'scripted-worker.ts';
const path = new URL(program, import.meta.url).pathname;
const workerProgram = {
  path,
  nodeArguments: ['--import', import.meta.resolve('tsx')],
  arguments: ['--script', script],
};
const environment = { ...processEnvironment(), args: args.length > 0 ? args : ['daemon'] };
process.exit(await runCli(environment, process, { ...THIS_INSTALLATION, workerProgram }));
