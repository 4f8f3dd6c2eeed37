import type { CommandContext } from '../command-context.js';
import type { ChatReader } from './chat-reader.js';
import { LineAssembler } from './line-assembler.js';
import { PipedReader } from './piped-reader.js';
import { readText } from './read-text.js';
import { runSlashCommand } from './slash-actions.js';
import { readChatInput } from './slash-command.js';
import { type ChatOptions, Talk } from './talk.js';
import { TerminalReader } from './terminal-reader.js';

/** Holds a conversation until its input ends. The exit code is 1 when a turn of a piped conversation failed. */
export async function chat(options: ChatOptions, context: CommandContext): Promise<number> {
  const { env, interrupt, output } = context;
  const talk = new Talk(options, context);
  const isInteractive = env.stdin.isTTY === true && output.isTerminal;
  const reader = isInteractive ? new TerminalReader(env.stdin, env.stderr) : new PipedReader(env.stdin);
  try {
    await talk.connect();
    if (isInteractive) {
      output.remark(
        `Talking to ${talk.model ?? 'the model that comes with rbee'}. /help shows what else you can type.`,
      );
    }
    await converse(talk, reader, context);
  } finally {
    reader.close();
    await talk.close();
  }
  interrupt.signal.throwIfAborted();
  return talk.hasFailed && !isInteractive ? 1 : 0;
}

async function converse(talk: Talk, reader: ChatReader, context: CommandContext): Promise<void> {
  const { interrupt, output } = context;
  const { bold, dim } = output.palette;
  const assembler = new LineAssembler();
  const prompts = { first: bold('> '), more: dim('... ') };
  let hinted = false;
  while (!output.broken.aborted) {
    const result = await readText(reader, assembler, prompts, interrupt.signal);
    if (result.kind === 'end' || (result.kind === 'interrupt' && hinted)) return;
    hinted = result.kind === 'interrupt';
    if (result.kind === 'interrupt') output.remark('Ctrl+C again leaves, and so do Ctrl+D and /exit.');
    else if (!(await take(result.text, talk, context))) return;
  }
}

/** False when the conversation is over. */
async function take(text: string, talk: Talk, context: CommandContext): Promise<boolean> {
  const input = readChatInput(text);
  if (input.kind === 'command') return runSlashCommand(input, talk, context);
  if (input.kind === 'mistake') context.output.block(input.message);
  if (input.kind === 'message') await talk.ask(input.text);
  return true;
}
