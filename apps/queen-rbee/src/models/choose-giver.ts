import type { LinkKind, Model, ModelFile } from '@rbee/protocol';

/** A node that has a model, as the choice among several sees it. */
export interface Giver {
  readonly name: string;
  readonly link: LinkKind;
  readonly model: Model;
  /** Copies that are read from it now. */
  readonly copies: number;
  /** Slots of its workers that are in use. */
  readonly busySlots: number;
}

/** A file whose content can be checked by whoever gets it. */
export type CopyableFile = ModelFile & { readonly digest: string };

/** The files of a model, where all of them can be checked after a copy; `undefined` for a model that is not given away. */
export function copyableFiles({ provider, files }: Model): readonly CopyableFile[] | undefined {
  if (provider !== 'hf' || !files || files.length === 0) return undefined;
  const copyable = files.filter((file): file is CopyableFile => typeof file.digest === 'string' && file.size_bytes > 0);
  return copyable.length === files.length ? copyable : undefined;
}

/** The node that a model is copied from: this machine, else the one with fewest copies, then with fewest busy slots. */
export function chooseGiver<G extends Giver>(givers: readonly G[]): G | undefined {
  return givers
    .filter(({ model }) => copyableFiles(model))
    .sort(
      (a, b) =>
        Number(b.link === 'local') - Number(a.link === 'local') ||
        a.copies - b.copies ||
        a.busySlots - b.busySlots ||
        a.name.localeCompare(b.name),
    )[0];
}
