import { randomUUID } from 'node:crypto';
import { Template } from '@huggingface/jinja';
import { type Message, RbeeError } from '@rbee/protocol';

/** A part of the text that goes to the model. */
export interface PromptPiece {
  readonly text: string;
  /** Whether the names of control tokens in it mean those tokens; text that a user wrote never does. */
  readonly control: boolean;
}

/** The chat template of a model: turns messages into the text that the model was trained on. */
export class ChatTemplate {
  readonly #source: string;
  readonly #variables: Readonly<Record<string, unknown>>;
  #template: Template | undefined;

  constructor(source: string, texts: { readonly bos: string; readonly eos: string }) {
    this.#source = source;
    this.#variables = { bos_token: texts.bos, eos_token: texts.eos, add_generation_prompt: true };
  }

  /**
   * Renders a conversation up to the place where the model's answer begins. Contents for which `isHostile` is true (they hold
   * the name of a control token) come out as pieces of their own that must be tokenized as plain text. Throws
   * INVALID_REQUEST with the template's own message when the template refuses the conversation.
   */
  render(messages: readonly Message[], isHostile: (content: string) => boolean): PromptPiece[] {
    const hidden = new Map<string, string>();
    const visible = messages.map((message) =>
      isHostile(message.content) ? { ...message, content: hide(message.content, hidden) } : message,
    );
    const text = this.#run(visible);
    if (hidden.size === 0) return [{ text, control: true }];
    return cutOut(text, hidden);
  }

  #run(messages: readonly Message[]): string {
    try {
      this.#template ??= new Template(this.#source);
      return this.#template.render({ ...this.#variables, messages });
    } catch (cause) {
      throw refuse(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }
}

/** Puts a mark in place of a content. The white space around it stays, because templates trim it. */
function hide(content: string, hidden: Map<string, string>): string {
  const core = content.trim();
  const start = content.indexOf(core);
  const mark = `m${randomUUID().replaceAll('-', '')}`;
  hidden.set(mark, core);
  return content.slice(0, start) + mark + content.slice(start + core.length);
}

function cutOut(text: string, hidden: ReadonlyMap<string, string>): PromptPiece[] {
  const marks = [...hidden.keys()];
  const pieces: PromptPiece[] = [];
  for (const part of text.split(new RegExp(`(${marks.join('|')})`))) {
    const content = hidden.get(part);
    if (content !== undefined) pieces.push({ text: content, control: false });
    else if (part !== '') pieces.push({ text: part, control: true });
  }
  const rest = pieces.map((piece) => (piece.control ? piece.text.toLowerCase() : '')).join('\n');
  if (marks.some((mark) => rest.includes(mark)))
    throw refuse('the template rewrites a message that names control tokens');
  return pieces;
}

function refuse(reason: string, cause?: unknown): RbeeError {
  return new RbeeError('INVALID_REQUEST', `the model's chat template refuses the conversation: ${reason}`, {
    details: { reason: 'chat_template' },
    suggestion: 'change the messages, or send the text as it is with template "none" (--raw)',
    cause,
  });
}
