import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Environment } from '@rbee/daemon-kit';
import { isRbeeError, RbeeError } from '@rbee/protocol';
import type { HiveInstallation } from '../app.js';
import { checkBundledModels } from './check-bundled-models.js';
import { checkCatalog } from './check-catalog.js';
import { checkEngine } from './check-engine.js';
import { checkNode } from './check-node.js';

/** For a new catalog and the output of a worker. */
const ROOM_BYTES = 1 << 20;

/** One thing that an installation needs; `message` says what was found, or what is wrong. */
interface Check {
  readonly name: 'node' | 'sqlite' | 'engine' | 'models';
  readonly ok: boolean;
  readonly message: string;
}

export interface SelfTestReport {
  readonly ok: boolean;
  readonly checks: readonly Check[];
}

export interface SelfTestParts {
  readonly installation: Pick<HiveInstallation, 'workerProgram' | 'bundledModelsDir'>;
  /** The catalog of this user, which is only read; it need not exist. */
  readonly catalogDb: string;
}

/**
 * Finds out whether an installation can run on this machine: with this Node.js, with the catalog there is, with the
 * engine it brings. Nothing of the user's is changed, and no temporary file stays. Throws INSTALL_FAILED when there is
 * no room for one.
 */
export async function runSelfTest(environment: Environment, parts: SelfTestParts): Promise<SelfTestReport> {
  const { installation, catalogDb } = parts;
  const { clock, variables } = environment;
  const folder = await makeFolder(environment.tmpdir);
  try {
    const checks = await Promise.all([
      report('node', async () => checkNode(process.versions.node)),
      report('sqlite', () => checkCatalog(catalogDb, folder, clock)),
      report('engine', () => checkEngine(installation.workerProgram, { folder, clock, variables })),
      report('models', () => checkBundledModels(installation.bundledModelsDir)),
    ]);
    return { ok: checks.every(({ ok }) => ok), checks };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * A folder in which there is room for what the checks write: without it they would fail in ways that say something
 * else.
 */
async function makeFolder(parent: string): Promise<string> {
  let folder: string | undefined;
  try {
    folder = await mkdtemp(join(parent, 'rbee-self-test-'));
    const room = join(folder, 'room');
    await writeFile(room, Buffer.alloc(ROOM_BYTES));
    await rm(room);
    return folder;
  } catch (cause) {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    throw toFolderError(parent, cause as NodeJS.ErrnoException);
  }
}

function toFolderError(folder: string, cause: NodeJS.ErrnoException): RbeeError {
  const why = cause.code === 'ENOSPC' || cause.code === 'EDQUOT' ? 'the disk is full' : cause.code;
  return new RbeeError('INSTALL_FAILED', `the self-test cannot use the temporary folder ${folder}: ${why}`, {
    details: { step: 'self_test', cause: cause.code },
    suggestion: 'free some space there, or set TMPDIR to a folder that can be written',
    cause,
  });
}

async function report(name: Check['name'], check: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, message: await check() };
  } catch (error) {
    const { message } = error as Error;
    const advice = isRbeeError(error) && error.suggestion ? ` (${error.suggestion})` : '';
    return { name, ok: false, message: message + advice };
  }
}
