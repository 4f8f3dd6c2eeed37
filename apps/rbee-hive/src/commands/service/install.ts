import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type Environment, ensureSecretFile, settingSchema, userPaths } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { loadHiveConfig } from '../../config.js';
import { INSTALLATION_ROOT } from '../../installation.js';
import { chooseServiceManager } from '../../service/choose-manager.js';
import { defineCommand, printJson, UsageError } from '../command.js';

const LAUNCHER = join('apps', 'rbee-hive', 'bin', 'rbee-hive.js');

export const serviceInstall = defineCommand({
  name: 'service install',
  usage: 'service install [--port <n>] [--node <file>] [--root <folder>]',
  options: { port: { type: 'string' }, node: { type: 'string' }, root: { type: 'string' } },
  async run({ port, node, root }, { environment }) {
    const plan = {
      node: readPath('node', node, environment) ?? process.execPath,
      launcher: findLauncher(readPath('root', root, environment) ?? ownRoot()),
      port: readPort(port),
      tokenFile: join(userPaths(environment).state, 'secrets', 'hive.token'),
      outputFile: join(loadHiveConfig(environment, {}).logDir, 'rbee-hive.out.log'),
    };
    requireFile(plan.node);
    const manager = chooseServiceManager(environment);
    ensureSecretFile(plan.tokenFile).dispose();
    const file = await manager.install(plan);
    printJson(environment, { installed: file, node: plan.node, launcher: plan.launcher });
    return 0;
  },
});

/** A release is started by way of the link beside it, so that the service follows it to the next release. */
function ownRoot(): string {
  const releases = dirname(INSTALLATION_ROOT);
  return basename(releases) === 'releases' ? dirname(releases) : INSTALLATION_ROOT;
}

function findLauncher(root: string): string {
  const launchers = [join(root, 'current', LAUNCHER), join(root, LAUNCHER)];
  const launcher = launchers.find((path) => existsSync(path));
  if (launcher !== undefined) return launcher;
  throw new RbeeError('INSTALL_FAILED', `there is no rbee-hive in ${root}`, {
    details: { step: 'service', looked_for: launchers },
    suggestion: 'name the folder of the installation: --root FOLDER',
  });
}

function requireFile(node: string): void {
  if (existsSync(node)) return;
  throw new RbeeError('INSTALL_FAILED', `there is no Node.js at ${node}`, {
    details: { step: 'service', path: node },
    suggestion: 'name the program: --node FILE',
  });
}

function readPath(name: string, value: string | undefined, { cwd }: Environment): string | undefined {
  if (value === undefined) return undefined;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a line of a unit file could end there
  if (value === '' || /[\x00-\x1f\x7f]/.test(value)) throw new UsageError(`--${name} must be a path`);
  return resolve(cwd, value);
}

function readPort(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = settingSchema.port.safeParse(text);
  if (!port.success) throw new UsageError('--port must be 1024 to 65535');
  return port.data;
}
