import type { LlamaContext, LlamaContextSequence, Token } from 'node-llama-cpp';
import { chooseProbeSlot } from './choose-probe-slot.js';
import { chooseSlot } from './choose-slot.js';

/** Room for one generation at a time, with the cache of the tokens that the last one left behind. */
export class Slot {
  readonly index: number;
  sequence: LlamaContextSequence;
  busy = false;
  lastUsed = 0;
  /** Settles when the probe that is in this slot has ended. A job may take the slot meanwhile, and waits for it. */
  probed: Promise<void> | undefined;

  constructor(index: number, sequence: LlamaContextSequence) {
    this.index = index;
    this.sequence = sequence;
  }
}

/** The slots of one context. Taking and giving back happen at once, so two jobs never get the same slot. */
export class Slots {
  readonly #context: LlamaContext;
  readonly #slots: Slot[];
  #uses = 0;

  constructor(context: LlamaContext) {
    this.#context = context;
    this.#slots = Array.from(
      { length: context.totalSequences },
      (_none, index) => new Slot(index, openSequence(context)),
    );
  }

  get total(): number {
    return this.#slots.length;
  }

  get free(): number {
    return this.#slots.reduce((count, slot) => count + (slot.busy ? 0 : 1), 0);
  }

  /** Takes the free slot in which a prompt is cheapest; `undefined` when none is free. */
  take(tokens: readonly Token[], cachePrompt: boolean): Slot | undefined {
    const views = this.#slots.map((slot) => ({
      free: !slot.busy,
      cached: slot.sequence.nextTokenIndex,
      prefix: slot.busy || !cachePrompt ? 0 : this.prefixOf(slot, tokens),
      lastUsed: slot.lastUsed,
    }));
    const slot = this.#slots[chooseSlot(tokens.length, views) ?? -1];
    if (!slot) return undefined;
    slot.busy = true;
    slot.lastUsed = ++this.#uses;
    return slot;
  }

  /** The free slot in which one more token does the least harm, and whether its cache must go; it stays free. */
  chooseForProbe(contextSize: number): { readonly slot: Slot; readonly clear: boolean } | undefined {
    const views = this.#slots.map((slot) => ({
      free: !slot.busy,
      cached: slot.sequence.nextTokenIndex,
      lastUsed: slot.lastUsed,
    }));
    const cuttable = !this.#slots[0]?.sequence.needsCheckpoints;
    const choice = chooseProbeSlot(views, { contextSize, cuttable });
    const slot = choice && this.#slots[choice.index];
    return slot && { slot, clear: choice.clear };
  }

  /** How many of the first tokens the slot's cache holds. */
  prefixOf(slot: Slot, tokens: readonly Token[]): number {
    return slot.sequence.compareContextTokens(tokens as Token[]).firstDifferentIndex;
  }

  give(slot: Slot): void {
    slot.busy = false;
  }

  /** Replaces the sequence of a slot whose cache can't be relied on after a failure. The slot is out of service until then. */
  async renew(slot: Slot): Promise<void> {
    slot.busy = true;
    await slot.sequence.dispose();
    slot.sequence = openSequence(this.#context);
    slot.lastUsed = 0;
    slot.busy = false;
  }
}

/** A generation ends when its slot is full, before the engine would drop tokens from the beginning to make room. */
function openSequence(context: LlamaContext): LlamaContextSequence {
  return context.getSequence({
    contextShift: {
      strategy: () => {
        throw new Error('the slot is full: the engine may not drop tokens');
      },
    },
  });
}
