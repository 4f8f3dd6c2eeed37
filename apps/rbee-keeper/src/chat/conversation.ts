import type { Message } from '@rbee/protocol';

/** What has been said. A question without an answer, whatever the reason, is not kept. */
export class Conversation {
  #system: string | undefined;
  #turns: Message[] = [];

  constructor(system?: string) {
    this.#system = system || undefined;
  }

  /** The text above the conversation, if there is one. */
  get system(): string | undefined {
    return this.#system;
  }

  /** Everything in order, the system text first. */
  get messages(): readonly Message[] {
    return this.#system === undefined ? this.#turns : [{ role: 'system', content: this.#system }, ...this.#turns];
  }

  /** The messages of a task that asks a question. */
  ask(question: string): Message[] {
    return [...this.messages, { role: 'user', content: question }];
  }

  /** Keeps a question with its answer. */
  keep(question: string, answer: string): void {
    this.#turns.push({ role: 'user', content: question }, { role: 'assistant', content: answer });
  }

  /** Takes the last question and its answer back, if there are any. */
  takeBack(): { question: string; answer: string } | undefined {
    const [question, answer] = this.#turns.splice(-2);
    return question && answer && { question: question.content, answer: answer.content };
  }

  /** Forgets everything but the system text. */
  reset(): void {
    this.#turns = [];
  }

  /** Sets the system text (empty: none) and forgets the rest, which was said under another one. */
  setSystem(text: string): void {
    this.#system = text || undefined;
    this.reset();
  }
}
