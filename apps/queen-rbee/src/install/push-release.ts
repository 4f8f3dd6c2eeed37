import { type Clock, formatDuration, type Narrate } from '@rbee/daemon-kit';
import { asStep } from './install-lock.js';
import type { Steps } from './install-step.js';
import { installPackages } from './node-packages.js';
import { activateRelease, listReleases, type NodePlace, passesSelfTest } from './node-release.js';
import { describePlatform, type Platform, planNatives } from './platform.js';
import { readRelease } from './release.js';
import type { ReleaseArchive, ReleaseArchives } from './release-archives.js';
import { requireSpace } from './require-space.js';

const TELL_PROGRESS_EVERY_MS = 200;
/** What the packages of a release take when a node installs them itself. */
const INSTALLED_PACKAGES_BYTES = 250e6;

const UNPACK = `
actual=$("$2" -e '
  const hash = require("node:crypto").createHash("sha256");
  require("node:fs").createReadStream(process.argv[1]).on("data", (chunk) => hash.update(chunk))
    .on("error", ({ message }) => { console.error(message); process.exit(1) })
    .on("end", () => console.log(hash.digest("hex")))
' "$3") || exit 1
if [ "$actual" != "$4" ]; then
  echo "the archive arrived damaged: its SHA-256 is $actual instead of $4" >&2
  exit 1
fi
mkdir -- "$5" || exit 1
# By way of standard input: tar takes a name with a colon for one on another machine.
tar -xzof - -C "$5" <"$3" || exit 1
rm -f -- "$3"
`;

export interface UploadProgress {
  readonly bytes_done: number;
  readonly bytes_total: number;
  readonly bytes_per_second?: number;
}

export interface PushOptions {
  readonly node: string;
  readonly place: NodePlace;
  readonly platform: Platform;
  readonly queen: Platform;
  /** Folder of the rbee that the queen belongs to. */
  readonly root: string;
  readonly archives: ReleaseArchives;
  readonly clock: Clock;
  readonly narrate: Narrate;
  readonly progress: (progress: UploadProgress) => void;
}

/** Puts the queen's own release on a node and switches to it. Throws INSTALL_FAILED; then the release before stays. */
export async function pushRelease(
  steps: Steps,
  options: PushOptions,
): Promise<{ release: string; unchanged: boolean }> {
  const { node, place, platform, queen, root, archives, narrate } = options;
  const say = (action: string, human: string) => narrate({ actor: 'queen-rbee', action, target: node, human });
  const plan = planNatives(queen, platform);
  if (plan.kind === 'impossible') {
    throw steps.failed('platform', [plan.missing], undefined, {
      details: { queen: describePlatform(queen), platform: describePlatform(platform), missing: plan.missing },
      suggestion: 'use a machine with Linux (glibc) or macOS, on x64 or arm64',
    });
  }
  const release = await readRelease(
    plan.kind === 'push' ? { root } : { root, installedFor: describePlatform(platform) },
  );
  const { id } = release;
  const installed = await listReleases(steps, place);
  if (installed.releases.includes(id)) {
    say('install_clone', `release ${id} is on ${node} already: checking it`);
    if (await passesSelfTest(steps, place, id)) {
      const unchanged = installed.current === id;
      if (!unchanged) await activateRelease(steps, place, id);
      return { release: id, unchanged };
    }
    say('install_clone', `release ${id} on ${node} does not work any more: sending it again`);
  }
  const archive = await archives.get(release);
  const packages = plan.kind === 'install' ? INSTALLED_PACKAGES_BYTES : 0;
  requireSpace(steps, node, place.installPath, archive.bytes + release.bytes + packages, installed.freeBytes);

  const incoming = `${place.installPath}/releases/.incoming-${id}`;
  const sizes = `${megabytes(archive.bytes)}, ${megabytes(release.bytes)} unpacked`;
  say('install_clone', `sending release ${id} to ${node} (${sizes})`);
  try {
    await upload(steps, archive, `${incoming}.tar.gz`, options);
  } catch (error) {
    throw await explainUpload(steps, archive, place, error);
  }
  say('install_build', `unpacking release ${id} on ${node}`);
  const { installPath, nodePath } = place;
  await steps.run('unpack', asStep(UNPACK), [installPath, nodePath, `${incoming}.tar.gz`, archive.sha256, incoming]);
  if (plan.kind === 'install') {
    say('install_build', `${node} installs the packages for ${describePlatform(platform)} itself`);
    await installPackages(steps, place, incoming, { platform, production: true });
  }
  say('install_build', `checking release ${id} on ${node}`);
  await activateRelease(steps, place, id, incoming);
  return { release: id, unchanged: false };
}

async function upload(steps: Steps, archive: ReleaseArchive, target: string, options: PushOptions): Promise<void> {
  const { clock, narrate, node, progress } = options;
  const startedAt = clock.monotonic();
  let toldAt = Number.NEGATIVE_INFINITY;
  await steps.upload('upload', archive, target, (bytesDone, bytesTotal) => {
    const now = clock.monotonic();
    if (bytesDone < bytesTotal && now - toldAt < TELL_PROGRESS_EVERY_MS) return;
    toldAt = now;
    const seconds = (now - startedAt) / 1000;
    const speed = seconds > 0 ? { bytes_per_second: Math.round(bytesDone / seconds) } : {};
    progress({ bytes_done: bytesDone, bytes_total: bytesTotal, ...speed });
  });
  const duration_ms = Math.round(clock.monotonic() - startedAt);
  narrate({
    actor: 'queen-rbee',
    action: 'install_clone',
    target: node,
    human: `sent ${megabytes(archive.bytes)} to ${node} in ${formatDuration(duration_ms)}`,
    duration_ms,
  });
}

/** SFTP does not tell why a file cannot be written; how much space there is without it does. */
async function explainUpload(
  steps: Steps,
  archive: ReleaseArchive,
  place: NodePlace,
  error: unknown,
): Promise<unknown> {
  if ((error as { code?: string }).code !== 'INSTALL_FAILED') return error;
  const { freeBytes } = await listReleases(steps, place);
  if (freeBytes === undefined || freeBytes >= archive.bytes) return error;
  return steps.failed('upload', ['no space left on device'], undefined, {
    details: { required_mb: Math.ceil(archive.bytes / 1e6), available_mb: Math.floor(freeBytes / 1e6) },
  });
}

/** As the progress of the upload is shown, so that both tell the same figure. */
function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MB`;
}
