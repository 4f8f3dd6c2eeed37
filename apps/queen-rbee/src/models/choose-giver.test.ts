import { describe, expect, it } from '@jest/globals';
import type { Model } from '@rbee/protocol';
import { chooseGiver, type Giver } from './choose-giver.js';

const file = { name: 'm.gguf', size_bytes: 7, digest: 'a'.repeat(64) };
const giver = (name: string, more: Partial<Giver> = {}, model: Partial<Model> = {}): Giver => ({
  ...{ name, link: 'ssh', copies: 0, busySlots: 0 },
  model: { provider: 'hf', files: [file], ...model } as Model,
  ...more,
});

describe('chooseGiver', () => {
  it.each<[string, Giver[], string | undefined]>([
    ['nobody', [], undefined],
    ['this machine', [giver('a'), giver('b', { link: 'local', copies: 3, busySlots: 4 })], 'b'],
    ['the one with fewest copies', [giver('a', { copies: 1 }), giver('b', { busySlots: 4 })], 'b'],
    ['the one with least to do', [giver('a', { busySlots: 2 }), giver('b', { busySlots: 1 })], 'b'],
    ['no model without digests', [giver('a', {}, { files: [file, { ...file, digest: undefined }] }), giver('b')], 'b'],
    ['no model whose files are not known', [giver('a', {}, { files: undefined })], undefined],
    ['no empty file', [giver('a', {}, { files: [{ ...file, size_bytes: 0 }] })], undefined],
    ['no model of the machine itself', [giver('a', {}, { provider: 'local' })], undefined],
  ])('takes %s', (_what, givers, expected) => expect(chooseGiver(givers)?.name).toBe(expected));
});
