import { pathToFileURL } from 'node:url';
import { PROJECT } from './world.js';

/** The program that takes the place of the hive's launcher on a machine whose workers are scripted. */
export function scriptedLauncher(script: string): string {
  const hive = pathToFileURL(`${PROJECT}/features/scripted/scripted-hive.ts`);
  return [
    `import { register } from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))};`,
    'register();',
    `process.argv.splice(2, 0, ${JSON.stringify(script)});`,
    `await import(${JSON.stringify(hive.href)});`,
    '',
  ].join('\n');
}
