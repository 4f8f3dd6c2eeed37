import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { VERSION } from '@rbee/protocol';

/**
 * A launcher that knows the commands an installation runs; `service` writes its arguments to a file. A release with a
 * file `broken` fails its self-test, and one with a file `slow` takes until it is killed.
 */
const LAUNCHER = `
import { existsSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
const release = join(import.meta.dirname, '../../..');
const value = (name) => process.argv[process.argv.indexOf(name) + 1];
const ok = !existsSync(join(release, 'models/broken.gguf'));
if (existsSync(join(release, 'models/slow.gguf'))) await new Promise((resolve) => setTimeout(resolve, 60_000));
if (!ok) {
  console.log(JSON.stringify({ ok, checks: [{ name: 'engine', ok, message: 'the engine cannot be loaded' }] }));
  console.error('[rbee-hive] Error: the engine cannot be loaded');
  process.exit(1);
}
if (process.argv[2] === 'release') {
  const current = join(value('--root'), 'current');
  rmSync(current + '.new', { force: true });
  symlinkSync('releases/' + value('--release'), current + '.new');
  renameSync(current + '.new', current);
}
if (process.argv[2] === 'service') writeFileSync(join(value('--root'), 'service.json'), JSON.stringify(process.argv.slice(2)));
console.log(JSON.stringify({ ok }));
`;

/** Writes files below a folder; the keys are paths, and missing folders are made. */
export function writeFiles(base: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(base, path)), { recursive: true });
    writeFileSync(join(base, path), content);
  }
}

/** Makes a small rbee with one dependency, laid out as pnpm does it, with more files or others. */
export function makeSmallRoot(base: string, more: Readonly<Record<string, string | Buffer>> = {}): string {
  const left = 'node_modules/.pnpm/left@1/node_modules';
  writeFiles(base, {
    'package.json': JSON.stringify({ type: 'module', version: VERSION }),
    'pnpm-lock.yaml': '',
    'pnpm-workspace.yaml': '',
    'models/bee.gguf': 'GGUF',
    'models/train/notes.md': 'no',
    'packages/kit/package.json': '{"dependencies":{"left":"1"}}',
    'apps/queen-rbee/package.json': '{}',
    'apps/rbee-hive/package.json':
      '{"type":"module","dependencies":{"@rbee/kit":"workspace:*","left":"1"},"devDependencies":{"dev":"1"}}',
    'apps/rbee-hive/bin/rbee-hive.js': LAUNCHER,
    'apps/rbee-hive/dist/main.js': 'main',
    'apps/rbee-hive/dist/main.js.map': 'map',
    'apps/rbee-hive/src/main.ts': 'source',
    'apps/llm-worker/package.json': '{}',
    'apps/llm-worker/bin/llm-worker-rbee.js': 'worker',
    'apps/llm-worker/dist/main.js': 'main',
    [`${left}/left/package.json`]: '{"dependencies":{"right":"1"},"optionalDependencies":{"absent":"1"}}',
    [`${left}/left/index.js`]: '',
    [`${left}/left/index.d.ts`]: '',
    [`${left}/left/README.md`]: '',
    [`${left}/left/LICENSE.md`]: '',
    [`${left}/left/test/all.js`]: '',
    [`${left}/left/lib/test/kept.js`]: '',
    'node_modules/.pnpm/right@1/node_modules/right/package.json': '{}',
    'node_modules/.pnpm/dev@1/node_modules/dev/package.json': '{}',
    ...more,
  });
  mkdirSync(join(base, 'apps/rbee-hive/node_modules'), { recursive: true });
  symlinkSync(`../../../${left}/left`, join(base, 'apps/rbee-hive/node_modules/left'));
  symlinkSync('../../right@1/node_modules/right', join(base, left, 'right'));
  return base;
}
