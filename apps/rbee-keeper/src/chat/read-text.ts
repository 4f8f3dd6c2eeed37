import type { ChatReader } from './chat-reader.js';
import type { LineAssembler } from './line-assembler.js';

/** A whole text of one or several lines, Ctrl+C at the prompt, or the end of the input. */
export type TextResult =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'interrupt' }
  | { readonly kind: 'end' };

/** Reads lines until they make a text. Lines that came in one piece, as a paste does, are one text. */
export async function readText(
  reader: ChatReader,
  assembler: LineAssembler,
  prompts: { readonly first: string; readonly more: string },
  signal: AbortSignal,
): Promise<TextResult> {
  for (;;) {
    const result = await reader.read(assembler.isOpen ? prompts.more : prompts.first, signal);
    if (result.kind === 'interrupt') {
      assembler.reset();
      return result;
    }
    const text = result.kind === 'end' ? assembler.flush() : assemble(assembler, result.lines);
    if (text !== undefined) return { kind: 'text', text };
    if (result.kind === 'end') return result;
  }
}

function assemble(assembler: LineAssembler, lines: readonly string[]): string | undefined {
  const isPaste = lines.length > 1 && !assembler.isOpen && !lines[0]?.trimStart().startsWith('"""');
  if (isPaste) return lines.join('\n');
  const texts = lines.map((line) => assembler.push(line)).filter((text) => text !== undefined);
  return texts.length === 0 ? undefined : texts.join('\n');
}
