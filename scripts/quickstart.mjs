/** Builds, then asks for a story. Only the story goes to stdout. */
import { run } from './run.mjs';

const built = await run(process.execPath, ['scripts/build.mjs', '--quiet'], { stdio: ['ignore', 2, 2] });
process.exitCode =
  built === 0
    ? await run(process.execPath, ['apps/rbee-keeper/bin/rbee-keeper.js', 'infer', '--prompt', 'write a short story'])
    : built;
