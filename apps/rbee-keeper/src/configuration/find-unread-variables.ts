import { didYouMean, type Setting, settingCatalogue } from '@rbee/daemon-kit/client';

/** Variables that are read and that no setting is made of. */
const FURTHER = ['RBEE_CONFIG', 'RBEE_SYSTEM_ROOT', 'RBEE_NO_RETRY', 'RBEE_NO_JITTER'];

/** The variables of the environment that look like settings of rbee and that no program reads, with what they may have meant. */
export function findUnreadVariables(
  variables: Readonly<Record<string, string | undefined>>,
): { readonly name: string; readonly meant: string | undefined }[] {
  const known = [...Object.values<Setting>(settingCatalogue).flatMap(({ env = [] }) => env), ...FURTHER];
  return Object.keys(variables)
    .filter((name) => name.startsWith('RBEE_') && !known.includes(name))
    .map((name) => ({ name, meant: nearest(name, known) }));
}

/** `didYouMean` compares with small letters. */
function nearest(name: string, known: readonly string[]): string | undefined {
  return didYouMean(
    name,
    known.map((each) => each.toLowerCase()),
  )?.toUpperCase();
}
