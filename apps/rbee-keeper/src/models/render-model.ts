import type { MemoryFigures, NodeModel } from '@rbee/protocol';
import { toLocalTime } from '../local-time.js';
import { toPrintableLine } from '../printable-text.js';
import { sizeText } from '../progress/size-text.js';
import { renderTable } from '../table.js';
import { lastUsed } from './render-models.js';

/** What is known of one model: its facts and files, then what each node that has it says. Times are local. */
export function renderModel(models: readonly NodeModel[]): string[] {
  // Files of one name that differ are different models.
  const kinds = new Map<string, NodeModel[]>();
  for (const model of models) {
    const key = `${model.model_ref} ${model.digest ?? ''} ${model.size_bytes}`;
    kinds.set(key, [...(kinds.get(key) ?? []), model]);
  }
  const blocks = [...kinds.values()].map(([first, ...others]) => (first ? renderKind(first, others) : []));
  return blocks.flatMap((lines, index) => (index === 0 ? lines : ['', ...lines])).map(toPrintableLine);
}

function renderKind(model: NodeModel, others: readonly NodeModel[]): string[] {
  const { facts, files = [] } = model;
  return [
    model.model_ref,
    ...toLines([
      ['Id', model.id],
      ['Size', sizeText(model.size_bytes)],
      ['Quantization', facts?.quantization ?? model.variant],
      ['Architecture', facts && `${facts.architecture}, ${facts.layers} ${facts.layers === 1 ? 'layer' : 'layers'}`],
      ['Longest context', facts && `${facts.context_length} tokens`],
      ['Vocabulary', facts && `${facts.vocab_size} tokens`],
      ['Chat template', facts && (facts.has_chat_template ? 'yes' : 'no')],
      ['SHA-256', model.digest],
    ]),
    ...(files.length > 1 ? ['  Files:', ...renderFiles(files)] : []),
    ...[model, ...others].flatMap(renderNodePart),
  ];
}

function renderFiles(files: NonNullable<NodeModel['files']>): string[] {
  const rows = files.map(({ name, size_bytes, digest }) => [name, sizeText(size_bytes), digest ?? '-']);
  return renderTable(['name', 'size', 'sha-256'], rows).map((line) => `    ${line}`);
}

function renderNodePart(model: NodeModel): string[] {
  return [
    `  On ${model.node}:`,
    ...toLines([
      ['File', model.local_path],
      ['There since', toLocalTime(model.downloaded_at_unix)],
      ['Last used', lastUsed(model.last_used_unix)],
    ]).map((line) => `  ${line}`),
    ...(model.memory ? renderMemory(model.memory).map((line) => `    ${line}`) : []),
  ];
}

const PARTS = [
  ['weights', 'weights_bytes'],
  ['KV cache', 'kv_cache_bytes'],
  ['compute buffers', 'compute_bytes'],
  ['total', 'total_bytes'],
] as const;

/** Estimate and measurement side by side. Only those of the same context and slots are compared. */
function renderMemory({ estimated, used }: NonNullable<NodeModel['memory']>): string[] {
  const isComparable = used?.context_size === estimated.context_size && used?.slots === estimated.slots;
  const bytes = PARTS.map(([name, key]) => [
    name,
    sizeText(estimated[key]),
    used ? sizeText(used[key]) : '-',
    used && isComparable ? difference(estimated[key], used[key]) : '-',
  ]);
  const table = renderTable(['memory', 'estimated', 'used', 'difference'], [...bytes, ...toSettings(estimated, used)]);
  return used ? table : [...table, 'It has not been loaded there yet.'];
}

function toSettings(estimated: MemoryFigures, used: MemoryFigures | undefined): string[][] {
  return [
    ['context of a slot', `${estimated.context_size}`, used ? `${used.context_size}` : '-', ''],
    ['slots', `${estimated.slots}`, used ? `${used.slots}` : '-', ''],
  ];
}

/** How much more, or less, was used than estimated. */
function difference(estimated: number, used: number): string {
  if (estimated === 0) return used === 0 ? '0 %' : '-';
  const percent = ((used - estimated) / estimated) * 100;
  const text = Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 1 : 0);
  if (Number(text) === 0) return '0 %';
  return `${percent < 0 ? '-' : '+'}${text} %`;
}

function toLines(facts: readonly (readonly [string, string | undefined])[]): string[] {
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [`  ${name}: ${value}`]));
}
