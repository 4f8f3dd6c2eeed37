import { describe, expect, it } from '@jest/globals';
import { type ChatInput, readChatInput, renderSlashHelp, SLASH_COMMANDS } from './slash-command.js';

describe('readChatInput', () => {
  it.each<[string, ChatInput]>([
    ['hello', { kind: 'message', text: 'hello' }],
    ['  two\nlines', { kind: 'message', text: '  two\nlines' }],
    ['   ', { kind: 'nothing' }],
    ['/help', { kind: 'command', name: 'help', argument: '' }],
    [' /reset ', { kind: 'command', name: 'reset', argument: '' }],
    ['/quit', { kind: 'command', name: 'exit', argument: '' }],
    ['/system Be brief.\nBe kind.', { kind: 'command', name: 'system', argument: 'Be brief.\nBe kind.' }],
    ['/model', { kind: 'command', name: 'model', argument: '' }],
    ['/save ~/talk.json', { kind: 'command', name: 'save', argument: '~/talk.json' }],
    ['/save', { kind: 'mistake', message: '/save needs a value: /save FILE' }],
    ['/retry now', { kind: 'mistake', message: '/retry takes nothing' }],
    ['/hlep', { kind: 'mistake', message: 'there is no command /hlep: did you mean /help?' }],
    ['/zebra', { kind: 'mistake', message: 'there is no command /zebra: type /help for the list' }],
    ['/constructor', { kind: 'mistake', message: 'there is no command /constructor: type /help for the list' }],
    ['//etc is a folder', { kind: 'message', text: '/etc is a folder' }],
  ])('%j', (text, expected) => {
    expect(readChatInput(text)).toEqual(expected);
  });
});

describe('renderSlashHelp', () => {
  it('names every command', () => {
    for (const name of Object.keys(SLASH_COMMANDS)) expect(renderSlashHelp()).toContain(`  /${name} `);
  });
});
