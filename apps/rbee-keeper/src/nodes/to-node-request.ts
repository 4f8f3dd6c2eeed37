import { statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type AddNodeInput, RbeeError, type UpdateNodeInput } from '@rbee/protocol';
import { checkRequest } from '../check-request.js';
import type { CommandContext } from '../command-context.js';
import { UsageError } from '../usage-error.js';
import { NODE_FLAGS, type NodeOptions } from './node-options.js';
import { parseBackends, parseDevices } from './parse-capabilities.js';

type Surroundings = Pick<CommandContext, 'entry' | 'env'> & {
  readonly queen: { readonly address: { isLocal: boolean } };
};

/**
 * The body that flags describe, checked as the queen will. Throws UsageError for a list that cannot be read, the
 * validation error with flags in place of fields, SSH_KEY_NOT_FOUND for a missing key file and INVALID_REQUEST for a
 * missing file of a hive's key.
 */
export function toNodeRequest(
  route: 'addNode' | 'updateNode',
  name: string,
  options: NodeOptions,
  context: Surroundings,
): AddNodeInput & UpdateNodeInput {
  // Files are the queen's: on another machine nothing can be said about them here, not even where home is.
  const { isLocal } = context.queen.address;
  const toPath = (typed: string | undefined) =>
    typed === undefined || !isLocal ? typed : expandPath(typed, context.env);
  const body = {
    node_name: name,
    ssh_host: options['ssh-host'],
    ssh_port: options['ssh-port'],
    ssh_user: options['ssh-user'],
    ssh_key_path: toPath(options['ssh-key']),
    host_key_fingerprint: options['host-key'],
    git_repo_url: options['git-repo'],
    git_branch: options['git-branch'],
    install_path: options['install-path'],
    node_path: options['node-path'],
    hive_port: options['hive-port'],
    hive_url: options['hive-url'],
    hive_token_file: toPath(options['hive-token-file']),
    backends: options.backends === undefined ? undefined : parseBackends(options.backends),
    devices: options.devices === undefined ? undefined : readDevices(options.devices, context),
  };
  checkRequest(route, body, NODE_FLAGS, `see what each flag takes: rbee-keeper ${context.entry.path.join(' ')} --help`);
  if (isLocal) {
    checkKeyFile(options['ssh-key'], body.ssh_key_path);
    checkTokenFile(options['hive-token-file'], body.hive_token_file);
  }
  // What is not known here are the names of backends, which the check has just gone through.
  return body as AddNodeInput & UpdateNodeInput;
}

function expandPath(typed: string, { cwd, home }: Surroundings['env']): string {
  if (typed === '~' || typed.startsWith('~/')) return join(home, typed.slice(1));
  return resolve(cwd, typed);
}

function readDevices(text: string, { entry }: Surroundings): Record<string, number> {
  const devices = parseDevices(text);
  if (devices) return devices;
  throw new UsageError(`--devices must be a list such as cuda=2,cpu=1, not "${text}"`, entry);
}

function checkKeyFile(typed: string | undefined, path: string | undefined): void {
  const fault = path === undefined ? undefined : findFileFault(path);
  if (fault === undefined) return;
  throw new RbeeError('SSH_KEY_NOT_FOUND', `the SSH key ${typed} ${fault}`, {
    details: { file: typed },
    suggestion: 'check the path given with --ssh-key, or leave it out to use the SSH agent and the usual keys',
  });
}

function checkTokenFile(typed: string | undefined, path: string | undefined): void {
  const fault = path === undefined ? undefined : findFileFault(path);
  if (fault === undefined) return;
  throw new RbeeError('INVALID_REQUEST', `--hive-token-file: ${typed} ${fault}`, {
    details: { file: typed },
    suggestion: 'check the path given with --hive-token-file',
  });
}

/** Whether the queen may read the file is hers to find out: she may be another user. */
function findFileFault(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return 'does not exist';
  return found.isDirectory() ? 'is a folder' : undefined;
}
