/** What comes from whoever talks: lines, Ctrl+C at the prompt, or the end of the input. */
export type ReadResult =
  | { readonly kind: 'lines'; readonly lines: readonly string[] }
  | { readonly kind: 'interrupt' }
  | { readonly kind: 'end' };

/** The input side of a conversation. One read at a time. */
export interface ChatReader {
  /** The next input. Ends when `signal` is aborted. */
  read(prompt: string, signal: AbortSignal): Promise<ReadResult>;
  close(): void;
}
