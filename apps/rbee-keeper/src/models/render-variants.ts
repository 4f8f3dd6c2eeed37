import type { ModelVariant } from '@rbee/protocol';
import { toPrintableLine } from '../printable-text.js';
import { sizeText } from '../progress/size-text.js';
import { renderTable } from '../table.js';

/** A table of what a repository offers, smallest first, with marks for the default and for what the node has already. */
export function renderVariants(variants: readonly ModelVariant[], node: string): string[] {
  const sorted = [...variants].sort((one, other) => one.size_bytes - other.size_bytes);
  const rows = sorted.map((variant) => [
    variant.variant,
    sizeText(variant.size_bytes),
    `${variant.files.length}`,
    variant.default ? 'default' : '-',
    variant.present ? `on ${node}` : '-',
  ]);
  return renderTable(['variant', 'size', 'files', 'default', 'present'], rows).map(toPrintableLine);
}
