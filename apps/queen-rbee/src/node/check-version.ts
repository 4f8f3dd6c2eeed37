import { isCompatibleVersion, RbeeError, VERSION } from '@rbee/protocol';

/** What brings a checkout to its newest version, with the pnpm that package.json names. */
const UPGRADE = 'git pull && npx --yes pnpm@12.21.0 build';

/** Throws VERSION_MISMATCH, naming both versions, when a hive and this queen may not work together. */
export function checkHiveVersion(node: string, hive: string): void {
  if (isCompatibleVersion(hive, VERSION)) return;
  const newer = hive.localeCompare(VERSION, 'en', { numeric: true }) > 0;
  throw new RbeeError('VERSION_MISMATCH', `the hive of ${node} has version ${hive}, this queen ${VERSION}`, {
    details: { node, hive_version: hive, queen_version: VERSION },
    suggestion: newer
      ? `upgrade rbee on this machine to ${hive}, in its checkout: ${UPGRADE}\nand end the older queen: rbee-keeper queen stop`
      : `upgrade the hive: rbee-keeper setup install --node ${node}`,
  });
}

/** Throws VERSION_MISMATCH when a caller says that it has a version that does not fit; callers that say nothing pass. */
export function checkCallerVersion(caller: string | string[] | undefined): void {
  if (typeof caller !== 'string' || isCompatibleVersion(caller, VERSION)) return;
  // What is no version at all is not repeated.
  const version = /^[\w.+-]{1,32}$/.test(caller) ? caller : 'unknown';
  throw new RbeeError('VERSION_MISMATCH', `the caller has version ${version}, this queen ${VERSION}`, {
    details: { keeper_version: version, queen_version: VERSION },
    suggestion: 'bring rbee-keeper and queen-rbee to one version; end an older queen first: rbee-keeper queen stop',
  });
}
