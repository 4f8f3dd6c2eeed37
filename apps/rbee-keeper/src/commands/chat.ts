import { defineCommand } from '../command.js';
import { taskOptions } from '../inference/task-options.js';

export const chatCommand = defineCommand({
  options: {
    system: { type: 'string', describe: 'Instruction that stands above the whole conversation' },
    quiet: { type: 'boolean', describe: 'No narration, no progress, no figures; errors are still shown' },
    ...taskOptions,
  },
  examples: [
    ['rbee-keeper chat', 'Talk to the model that comes with rbee'],
    ['rbee-keeper chat --system "Answer in one sentence."', 'With an instruction'],
    ['rbee-keeper chat --model ./mistral-7b.Q4_K_M.gguf', 'Talk to a model file'],
    ["printf 'hello\\nand again\\n' | rbee-keeper chat --json", 'Every line is a turn; one JSON object per answer'],
  ],
  notes:
    'Type /help in the conversation for its commands. A text of several lines stands between two lines of """,\n' +
    'or has a backslash at the end of each line but its last. Ctrl+C cancels an answer, Ctrl+D leaves.',
  async run(options, context) {
    if (options.quiet) context.output.mute();
    const { chat } = await import('../chat/chat.js');
    return chat(options, context);
  },
});
