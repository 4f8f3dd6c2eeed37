import { didYouMean } from '@rbee/daemon-kit/client';

/** Commands within a conversation: what each takes, and what it does. */
export const SLASH_COMMANDS = {
  help: { takes: '', does: 'show this list' },
  exit: { takes: '', does: 'leave (also Ctrl+D)' },
  reset: { takes: '', does: 'forget the conversation; the system text stays' },
  system: { takes: '[TEXT]', does: 'set the system text and start anew; without TEXT: show it' },
  model: { takes: '[REF]', does: 'go on with another model; without REF: show the current one' },
  retry: { takes: '', does: 'answer the last message again' },
  history: { takes: '', does: 'show the conversation' },
  save: { takes: 'FILE', does: 'write the conversation to a JSON file that infer --messages reads' },
} as const;

type SlashName = keyof typeof SLASH_COMMANDS;

/** What a text in a conversation is: a message for the model, or a command. */
export type ChatInput =
  | { readonly kind: 'message'; readonly text: string }
  | { readonly kind: 'command'; readonly name: SlashName; readonly argument: string }
  | { readonly kind: 'mistake'; readonly message: string }
  | { readonly kind: 'nothing' };

const ALIASES: Readonly<Record<string, SlashName>> = { quit: 'exit', bye: 'exit', '?': 'help', clear: 'reset' };

/** Reads a text. A message may begin with a slash when that is doubled. */
export function readChatInput(text: string): ChatInput {
  const trimmed = text.trim();
  if (trimmed === '') return { kind: 'nothing' };
  if (!trimmed.startsWith('/')) return { kind: 'message', text };
  if (trimmed.startsWith('//')) return { kind: 'message', text: trimmed.slice(1) };
  const [, word = '', rest = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(trimmed) ?? [];
  const name = ALIASES[word] ?? word;
  if (!isSlashName(name)) {
    const near = didYouMean(word, Object.keys(SLASH_COMMANDS));
    const hint = near ? `did you mean /${near}?` : 'type /help for the list';
    return { kind: 'mistake', message: `there is no command /${word}: ${hint}` };
  }
  const { takes } = SLASH_COMMANDS[name];
  if (takes === '' && rest !== '') return { kind: 'mistake', message: `/${name} takes nothing` };
  if (takes !== '' && !takes.startsWith('[') && rest === '') {
    return { kind: 'mistake', message: `/${name} needs a value: /${name} ${takes}` };
  }
  return { kind: 'command', name, argument: rest };
}

/** The list that /help shows. */
export function renderSlashHelp(): string {
  const rows = Object.entries(SLASH_COMMANDS).map(([name, { takes, does }]) => {
    return `  ${`/${name} ${takes}`.padEnd(16)} ${does}`;
  });
  return [
    ...rows,
    '',
    '  """ begins and ends a text of several lines; a backslash at the end of a line continues it.',
    '  Ctrl+C cancels an answer. A message that begins with a slash is written with two.',
  ].join('\n');
}

function isSlashName(name: string): name is SlashName {
  return Object.hasOwn(SLASH_COMMANDS, name);
}
