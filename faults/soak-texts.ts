import { randomUUID } from 'node:crypto';
import { MODEL, QUICK_MODEL } from './model.js';
import { NODE, type Site } from './site.js';
import { followTask, type Seen } from './task-client.js';

export const MODELS = [MODEL, QUICK_MODEL] as const;
export const PROMPTS = ['tell me of bees', 'tell me of honey', 'tell me of queens', 'tell me of combs'] as const;
export const MOST_TOKENS = 300;

/** One wish for an answer; everything but its length decides what the answer begins with. */
export interface Wish {
  readonly model: string;
  readonly prompt: string;
  readonly tokens: number;
}

/** The undisturbed answers, token by token, of every model to every prompt. */
export class SoakTexts {
  readonly #tokens = new Map<string, readonly string[]>();

  static async learn(site: Site): Promise<SoakTexts> {
    const texts = new SoakTexts();
    for (const model of MODELS) {
      for (const prompt of PROMPTS) {
        const tokens: string[] = [];
        const seen = await followTask({
          queenUrl: site.queenUrl,
          body: toBody({ model, prompt, tokens: MOST_TOKENS }),
          onEvent: (event) => {
            if (event.type === 'token') tokens.push(String(event.t));
          },
        });
        if (seen.terminals[0]?.type !== 'end') throw new Error(`undisturbed: ${JSON.stringify(seen)}`);
        texts.#tokens.set(model + prompt, tokens);
      }
    }
    return texts;
  }

  textOf({ model, prompt, tokens }: Wish): string {
    return (this.#tokens.get(model + prompt) ?? []).slice(0, tokens).join('');
  }

  /** Whether what has been seen is the beginning of the answer, without a token twice or missing. */
  isBeginning(wish: Wish, seen: Seen): boolean {
    return seen.misplaced === 0 && this.textOf(wish).startsWith(seen.text);
  }
}

export function toBody({ model, prompt, tokens }: Wish, id = `soak-${randomUUID()}`) {
  return { job_id: id, node: NODE, model, prompt, template: 'none', temperature: 0, max_tokens: tokens };
}
