import { processEnvironment } from '@rbee/daemon-kit/client';
import { runHubClient } from './run-hub-client.js';

const { clock, stdin, stdout, stderr } = processEnvironment();
await runHubClient({ clock, stdin, stdout, stderr, signals: process });
// What was said last has to leave first; then nothing, such as a name that is still being looked up, keeps it from ending.
// biome-ignore lint/nursery/noProcessExit: this is the main file of a program.
stdout.write('', () => process.exit(0));
