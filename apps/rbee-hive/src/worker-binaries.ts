import { readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BACKENDS, VERSION } from '@rbee/protocol';

/** The worker builds of this machine: the launcher, with the backends that the installed engine has binaries for. */
export async function findWorkerBinaries(program: string) {
  const file = await stat(program).catch(() => undefined);
  if (file === undefined) return [];
  return [
    {
      worker_type: 'llm-worker-rbee',
      version: VERSION,
      binary_path: program,
      features: await findFeatures(dirname(dirname(program))),
      installed_at_unix: Math.floor(file.mtimeMs / 1000),
    },
  ];
}

/** Engine packages are named `<os>-<cpu>[-<backend>]` and lie beside the engine itself. */
async function findFeatures(app: string): Promise<string[]> {
  const engine = await realpath(join(app, 'node_modules', 'node-llama-cpp')).catch(() => undefined);
  const folders = engine === undefined ? [] : [join(dirname(engine), '@node-llama-cpp')];
  const packages = (await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])))).flat();
  return BACKENDS.filter((backend) => backend === 'cpu' || packages.some((name) => name.split('-').includes(backend)));
}
