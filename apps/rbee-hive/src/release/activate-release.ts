import { existsSync } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { type Clock, identify } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import type { HiveRecords } from '../hive-records.js';
import type { SelfTestReport } from '../self-test/self-test.js';
import { backUpCatalog } from './back-up-catalog.js';
import type { ReleaseFolder } from './release-folder.js';

export interface Activation {
  readonly releases: ReleaseFolder;
  readonly id: string;
  /** Installation that this program belongs to; it has to be the release itself. */
  readonly ownInstallation: string;
  readonly selfTest: () => Promise<SelfTestReport>;
  readonly catalogDb: string;
  readonly backupsDir: string;
  readonly hives: HiveRecords;
  readonly clock: Clock;
}

export interface Activated {
  readonly activated: string;
  /** The release that was used until now; the same one when nothing changed; null for the first one. */
  readonly previous: string | null;
}

const LEFTOVER_MS = 24 * 3_600_000;

/**
 * Lets a node use a release from now on. The release before stays, and so does every one that a process runs from; the
 * others go. Throws INSTALL_FAILED, and changes nothing, when this program is not that release or its self-test fails.
 */
export async function activateRelease(activation: Activation): Promise<Activated> {
  const { id, ownInstallation, selfTest, hives } = activation;
  await requireOwn(activation);
  const { pid, startTime } = identify(process.pid) ?? { pid: process.pid, startTime: undefined };
  // An activation of another release at the same time must not remove this one.
  const forget = hives.write({ pid, startTime, installation: await realpath(ownInstallation) });
  try {
    requirePassed(id, await selfTest());
    // One that had looked for users before this one was noted may have removed it during the self-test.
    await requireOwn(activation);
    return await switchTo(activation);
  } finally {
    forget();
  }
}

async function switchTo(activation: Activation): Promise<Activated> {
  const { releases, id, catalogDb, backupsDir, clock } = activation;
  const previous = await releases.current();
  if (previous !== id) {
    if (existsSync(catalogDb)) await backUpCatalog(catalogDb, backupsDir, clock.now());
    await releases.use(id);
    await removeOthers(activation, previous);
  }
  await releases.removeLeftovers(clock.now() - LEFTOVER_MS).catch(leaveIt);
  return { activated: id, previous: previous ?? null };
}

async function requireOwn({ releases, id, ownInstallation }: Activation): Promise<void> {
  const path = releases.pathOf(id);
  const entry = await lstat(path).catch(() => undefined);
  if (entry?.isDirectory() && (await realpath(path)) === (await realpath(ownInstallation))) return;
  const why = entry === undefined ? 'there is no such release' : `this program belongs to ${ownInstallation}`;
  throw new RbeeError('INSTALL_FAILED', `the release ${id} in ${releases.root} cannot be activated: ${why}`, {
    details: { step: 'activate', release: id },
    suggestion: `run the rbee-hive of that release: ${path}/apps/rbee-hive/bin/rbee-hive.js`,
  });
}

function requirePassed(id: string, { ok, checks }: SelfTestReport): void {
  if (ok) return;
  const failed = checks.filter((check) => !check.ok);
  const why = failed.map(({ name, message }) => `${name}: ${message}`).join('; ');
  throw new RbeeError('INSTALL_FAILED', `the release ${id} cannot run on this machine: ${why}`, {
    details: { step: 'self_test', release: id, checks },
    suggestion: 'the release before stays in use; put right what is named above, then install again',
  });
}

async function removeOthers({ releases, id, hives }: Activation, previous: string | undefined): Promise<void> {
  for (const other of await releases.list()) {
    if (other === id || other === previous) continue;
    await removeUnused(releases, other, hives).catch(leaveIt);
  }
}

async function removeUnused(releases: ReleaseFolder, id: string, hives: HiveRecords): Promise<void> {
  const path = await realpath(releases.pathOf(id));
  // Asked for each one, because the removal of a large release before it takes a while.
  if (!hives.running().some(({ installation }) => installation === path)) await releases.remove(id);
}

/** The release is switched to by then; whatever cannot be removed now is tried again by the next activation. */
const leaveIt = () => undefined;
