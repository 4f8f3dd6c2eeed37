import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { BUNDLED_MODEL_REF } from '@rbee/protocol';
import type { CommandContext } from '../command-context.js';
import { toPrintableAnswer } from '../printable-text.js';
import { reportError } from '../report-error.js';
import { type ChatInput, renderSlashHelp } from './slash-command.js';
import type { Talk } from './talk.js';

/** Does what a slash command says; false when it ends the conversation. Nothing that it says is an answer: all goes to standard error. */
export async function runSlashCommand(
  { name, argument }: Extract<ChatInput, { kind: 'command' }>,
  talk: Talk,
  context: CommandContext,
): Promise<boolean> {
  const { output, env, settings } = context;
  const { conversation } = talk;
  switch (name) {
    case 'exit':
      return false;
    case 'help':
      output.block(renderSlashHelp());
      break;
    case 'reset':
      conversation.reset();
      output.remark('The conversation is forgotten.');
      break;
    case 'system':
      if (argument !== '') conversation.setSystem(argument);
      if (argument !== '') output.remark('The conversation starts anew.');
      output.remark(conversation.system === undefined ? 'There is no system text.' : `System: ${conversation.system}`);
      break;
    case 'model':
      try {
        if (argument !== '') talk.useModel(argument);
        output.remark(`Model: ${talk.model ?? BUNDLED_MODEL_REF}`);
      } catch (error) {
        reportError(error, { env, output, settings });
      }
      break;
    case 'retry':
      if (!(await talk.askAgain())) output.remark('There is nothing to answer again.');
      break;
    case 'history':
      showHistory(talk, context);
      break;
    case 'save':
      saveConversation(argument, talk, context);
      break;
  }
  return true;
}

function showHistory({ conversation }: Talk, { output }: CommandContext): void {
  const { bold } = output.palette;
  if (conversation.messages.length === 0) output.remark('Nothing has been said yet.');
  for (const { role, content } of conversation.messages)
    output.block(`${bold(`${role}:`)} ${toPrintableAnswer(content)}`);
}

function saveConversation(file: string, { conversation }: Talk, { env, output }: CommandContext): void {
  const path = file.startsWith('~/') ? resolve(env.home, file.slice(2)) : resolve(env.cwd, file);
  try {
    writeFileSync(path, `${JSON.stringify(conversation.messages, undefined, 2)}\n`, { mode: 0o600 });
    output.remark(`Saved ${conversation.messages.length} messages in ${path}`);
  } catch (error) {
    output.block(`${path} cannot be written (${(error as NodeJS.ErrnoException).code}).`);
  }
}
