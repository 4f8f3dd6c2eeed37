#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/main.js', import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  process.stderr.write('rbee is not built yet. Run `pnpm build` in the project folder, then try again.\n');
  process.exitCode = 1;
}
