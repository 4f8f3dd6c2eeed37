import type { NodeScan } from '@rbee/protocol';
import { sizeText } from '../progress/size-text.js';

/** What a look through the folders of models has found, a line for each file; the last line sums up. */
export function renderScan({ node, added, removed, changed, refused, removed_partials: rests }: NodeScan): string[] {
  const counts = [
    ...(added.length > 0 ? [`${added.length} added`] : []),
    ...(changed.length > 0 ? [`${changed.length} changed`] : []),
    ...(removed.length > 0 ? [`${removed.length} gone`] : []),
    ...(refused.length > 0 ? [`${refused.length} refused`] : []),
    ...(rests.length > 0 ? [`${rests.length} old ${rests.length === 1 ? 'rest' : 'rests'} of downloads deleted`] : []),
  ];
  return [
    ...added.map(({ model_ref, size_bytes }) => `added ${model_ref} (${sizeText(size_bytes)})`),
    ...changed.map(({ model_ref }) => `changed: ${model_ref}, its facts were read anew`),
    ...removed.map(({ model_ref }) => `gone: ${model_ref}, its file is not there any more`),
    ...refused.map(({ name, reason }) => `refused ${name}: ${reason}`),
    ...rests.map(({ name, size_bytes }) => `deleted the rest of a download: ${name} (${sizeText(size_bytes)})`),
    counts.length === 0 ? `nothing has changed on ${node}` : `${node}: ${counts.join(', ')}`,
  ];
}
