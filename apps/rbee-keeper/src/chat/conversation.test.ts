import { describe, expect, it } from '@jest/globals';
import { Conversation } from './conversation.js';

describe('Conversation', () => {
  it('keeps questions with their answers below the system text', () => {
    const talk = new Conversation('Be brief.');
    talk.keep('a', 'b');
    expect(talk.ask('c')).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c' },
    ]);
    expect(talk.messages).toHaveLength(3);
  });

  it('takes the last turn back', () => {
    const talk = new Conversation();
    talk.keep('a', 'b');
    talk.keep('c', 'd');
    expect(talk.takeBack()).toEqual({ question: 'c', answer: 'd' });
    expect(talk.takeBack()).toEqual({ question: 'a', answer: 'b' });
    expect(talk.takeBack()).toBeUndefined();
  });

  it('forgets everything but the system text', () => {
    const talk = new Conversation('s');
    talk.keep('a', 'b');
    talk.reset();
    expect(talk.messages).toEqual([{ role: 'system', content: 's' }]);
    talk.keep('a', 'b');
    talk.setSystem('');
    expect(talk.messages).toEqual([]);
  });
});
