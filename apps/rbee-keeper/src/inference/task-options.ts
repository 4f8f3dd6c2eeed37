import type { OptionTable, OptionValues } from '../command.js';

/** Flags that say what a task runs on and how tokens are chosen; `infer` and `chat` share them. */
export const taskOptions = {
  node: { type: 'string', value: 'NODE', describe: 'Node to run on, such as localhost; left out: the queen chooses' },
  model: {
    type: 'string',
    value: 'REF',
    describe: 'hf:ORG/REPO[:VARIANT], a GGUF file of the models folder, or builtin:honeycomb[:VARIANT] (the default)',
  },
  backend: {
    type: 'string',
    value: 'NAME',
    describe: 'cpu, cuda, metal or vulkan; never replaced by another',
    default: 'cpu',
  },
  device: { type: 'number', describe: 'Device of the backend, counted from 0; left out: the best one' },
  'max-tokens': { type: 'number', describe: 'Longest answer; left out: until the model ends' },
  temperature: { type: 'number', describe: '0 (always the likeliest token) to 2', default: 0.7 },
  'top-p': { type: 'number', describe: 'Choose among the tokens that make up this probability (1: off)' },
  'top-k': { type: 'number', describe: 'Choose among this many tokens (0: off)' },
  'min-p': { type: 'number', describe: 'Drop tokens below this share of the likeliest one (0: off)' },
  'repetition-penalty': { type: 'number', describe: 'Above 1: repeat less (1: off)' },
  seed: { type: 'number', describe: 'Start of the random numbers, for an answer that can be repeated' },
  stop: { type: 'list', describe: 'Text that ends the answer; may be repeated' },
  timeout: { type: 'duration', describe: 'Give up after this time, for example 5m' },
  'no-resume': {
    type: 'boolean',
    describe: 'End with an error when the worker is lost, instead of going on at another',
  },
  priority: {
    type: 'string',
    value: 'NAME',
    describe: 'interactive, or batch for work that lets others go first',
    default: 'interactive',
  },
  'keep-alive': {
    type: 'duration',
    describe: 'How long a queen started by this command stays for the next one (RBEE_KEEP_ALIVE; default 0)',
  },
} as const satisfies OptionTable;

export type TaskOptions = OptionValues<typeof taskOptions>;
