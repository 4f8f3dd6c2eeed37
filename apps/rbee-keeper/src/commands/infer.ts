import { defineCommand } from '../command.js';
import { taskOptions } from '../inference/task-options.js';
import { UsageError } from '../usage-error.js';

export const inferCommand = defineCommand({
  options: {
    prompt: { type: 'string', describe: 'Text for the model; - reads it from standard input' },
    'prompt-file': { type: 'string', value: 'FILE', describe: 'File with the text for the model' },
    messages: {
      type: 'string',
      value: 'FILE',
      describe: 'JSON file with a conversation: [{"role":"user","content":"hello"}]',
    },
    raw: { type: 'boolean', describe: 'Give the prompt to the model as it is, without its chat template' },
    quiet: { type: 'boolean', describe: 'No narration, no progress, no summary; errors are still shown' },
    ...taskOptions,
    'on-disconnect': {
      type: 'string',
      value: 'WHAT',
      describe: 'What becomes of the task when this command is gone: cancel, or keep (see tasks show)',
      default: 'cancel',
    },
  },
  examples: [
    ['rbee-keeper infer --prompt "write a short story"', 'The model that comes with rbee, on the best machine'],
    [
      'rbee-keeper infer --model ~/.local/share/rbee/models/mistral-7b.Q4_K_M.gguf --prompt-file question.txt',
      'A model file, a prompt from a file',
    ],
    ['rbee-keeper infer --model hf:ORG/REPO --prompt hello', 'A model of the hub, downloaded when it is first used'],
    [
      'git diff | rbee-keeper infer --prompt - --quiet --max-tokens 200',
      'A prompt from standard input, only text as output',
    ],
    ['rbee-keeper infer --backend cuda --device 1 --prompt hello', 'One GPU of this machine'],
    ['rbee-keeper infer --prompt hello --json', 'One JSON object with the text and its figures, or {"error": ...}'],
  ],
  notes: 'The text goes to standard output, everything else to standard error. Ctrl+C cancels the task.',
  async run(options, context) {
    const { prompt, 'prompt-file': promptFile, messages } = options;
    const given = Object.entries({ '--prompt': prompt, '--prompt-file': promptFile, '--messages': messages });
    const names = given.filter(([, value]) => value !== undefined).map(([name]) => name);
    if (names.length === 0)
      throw new UsageError('nothing to send: give --prompt, --prompt-file or --messages', context.entry);
    if (names.length > 1) throw new UsageError(`${names.join(' and ')} exclude each other: give one`, context.entry);
    if (options.quiet) context.output.mute();
    const { inferOnce } = await import('../inference/infer-once.js');
    await inferOnce(options, { prompt, promptFile, messages }, context);
    return 0;
  },
});
