import { processEnvironment } from '@rbee/daemon-kit';
import { runCli } from './cli.js';

process.exit(await runCli(processEnvironment(), process));
