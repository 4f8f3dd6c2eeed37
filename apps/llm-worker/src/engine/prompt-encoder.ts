import { type Message, RbeeError } from '@rbee/protocol';
import type { LlamaModel, Token } from 'node-llama-cpp';
import { ChatTemplate, type PromptPiece } from './chat-template.js';
import { PromptTokenizer, type TokenizeLimits } from './prompt-tokenizer.js';
import type { PieceForm } from './token-piece.js';

/** What a generation starts from. */
export interface PromptInput {
  readonly prompt?: string | undefined;
  readonly messages?: readonly Message[] | undefined;
  readonly template: 'auto' | 'none';
}

/** Turns prompts and conversations into the tokens of one model. */
export class PromptEncoder {
  readonly #model: LlamaModel;
  readonly #template: ChatTemplate | undefined;
  readonly #controlNames: RegExp | undefined;
  readonly #tokenizer: PromptTokenizer<Token>;

  constructor(model: LlamaModel, form: PieceForm) {
    this.#model = model;
    const names = model.fileInfo.metadata.tokenizer?.ggml?.tokens ?? [];
    const tokenize = (text: string, control: boolean, trim?: 'trimLeadingSpace') => model.tokenize(text, control, trim);
    this.#tokenizer = new PromptTokenizer({ form, names, tokenize });
    const source = model.fileInfo.metadata.tokenizer?.chat_template;
    const texts = { bos: model.tokens.bosString ?? '', eos: model.tokens.eosString ?? '' };
    this.#template = source ? new ChatTemplate(source, texts) : undefined;
    this.#controlNames = toPattern(listControlNames(model));
  }

  get hasTemplate(): boolean {
    return this.#template !== undefined;
  }

  /**
   * The tokens of an input, with the beginning token if the model wants one. Throws INVALID_REQUEST, CONTEXT_LENGTH_EXCEEDED when it is
   * much too long, or the signal's reason.
   */
  async encode(input: PromptInput, limits: TokenizeLimits): Promise<Token[]> {
    const tokens: Token[] = [];
    for (const { text, control } of this.#toPieces(input)) {
      await this.#tokenizer.append(tokens, text, control, limits);
    }
    const { bos, shouldPrependBosToken } = this.#model.tokens;
    if (shouldPrependBosToken && bos !== null && tokens[0] !== bos) tokens.unshift(bos);
    if (tokens.length === 0)
      throw new RbeeError('INVALID_REQUEST', 'the prompt has no tokens: it is empty for this model');
    return tokens;
  }

  #toPieces(input: PromptInput): PromptPiece[] {
    const { prompt = '', messages, template } = input;
    if (messages && !this.#template) {
      throw new RbeeError('INVALID_REQUEST', 'the model has no chat template, so it takes a prompt, not messages', {
        details: { reason: 'no_chat_template' },
        suggestion: 'send the conversation as one prompt, or use a model made for chat',
      });
    }
    if (!this.#template || (template === 'none' && !messages)) return [{ text: prompt, control: true }];
    const conversation: readonly Message[] = messages ?? [{ role: 'user', content: prompt }];
    return this.#template.render(conversation, (content) => this.#controlNames?.test(content) ?? false);
  }
}

/** Control tokens are written in brackets in every vocabulary; the engine says which of those are control tokens. */
function listControlNames(model: LlamaModel): string[] {
  const names = model.fileInfo.metadata.tokenizer?.ggml?.tokens ?? [];
  return names.filter((name, id) => /^[<[]/.test(name) && name.length > 1 && model.isSpecialToken(id as Token));
}

function toPattern(names: readonly string[]): RegExp | undefined {
  if (names.length === 0) return undefined;
  return new RegExp(names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|'));
}
