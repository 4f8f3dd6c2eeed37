import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { redact, redactFields, rememberSecret } from './redact.js';

const HIDDEN = '[REDACTED]';

describe('what is hidden', () => {
  it.each([
    ['Authorization: Bearer abc123', `Authorization: Bearer ${HIDDEN}`],
    ['bearer a,b;c=d/e+f', `Bearer ${HIDDEN}`],
    ['{"authorization":"Bearer abc123","x":1}', `{"authorization":"Bearer ${HIDDEN}","x":1}`],
    ['sent Bearer abc123 to the hive', `sent Bearer ${HIDDEN} to the hive`],
    ['api_key=abc123', `api_key=${HIDDEN}`],
    ['API-KEY: abc123', `API-KEY: ${HIDDEN}`],
    ['apiKey=abc&node=mac', `apiKey=${HIDDEN}&node=mac`],
    ['{"api_key":"abc"}', `{"api_key":"${HIDDEN}"}`],
    ['{"api_key" : "with spaces, and commas"}', `{"api_key" : "${HIDDEN}"}`],
    ['{"password":"with \\" a quote","x":"y"}', `{"password":"${HIDDEN}","x":"y"}`],
    ['{"worker_api_key":"abc","x":1}', `{"worker_api_key":"${HIDDEN}","x":1}`],
    [
      '{"msg":"peer said {\\"token\\":\\"abc def\\",\\"n\\":1}"}',
      `{"msg":"peer said {\\"token\\":\\"${HIDDEN}\\",\\"n\\":1}"}`,
    ],
    ['{"password":123456,"n":1}', `{"password":"${HIDDEN}","n":1}`],
    ['{"m":"{\\"password\\":123456}"}', `{"m":"{\\"password\\":\\"${HIDDEN}\\"}"}`],
    ["{'token': 'abc def'}", `{'token': '${HIDDEN}'}`],
    ['token="abc def" next', `token="${HIDDEN}" next`],
    ["HF_TOKEN=s3cret RBEE_SECRET=a'b,c", `HF_TOKEN=${HIDDEN} RBEE_SECRET=${HIDDEN}`],
    ['password: hunter2 rest', `password: ${HIDDEN} rest`],
    ['eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln', HIDDEN],
    ['redis://user:pa@ss@host:6379/0', `redis://user:${HIDDEN}@host:6379/0`],
    ['redis://:pass@host', `redis://:${HIDDEN}@host`],
    ['using hf_AbCdEfGh12345678', `using ${HIDDEN}`],
    ['a\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb\n-----END OPENSSH PRIVATE KEY-----\nz', `a\n${HIDDEN}\nz`],
    ['{"m":"-----BEGIN PRIVATE KEY-----\\nMIIE","x":1}', `{"m":"${HIDDEN}","x":1}`],
  ])('%s', (text, expected) => {
    expect(redact(text)).toBe(expected);
    expect(redact(expected)).toBe(expected);
  });
});

describe('what stays', () => {
  it.each([
    'identity="token:a3f2c1"',
    '{"identity":"token:a3f2c1"}',
    '{"api_key":"token:a3f2c1"}',
    'the key token:a3f2c1, and token:b3f2c1.',
    '{"tokens_out":20,"tokens_per_sec":12.5,"prompt_tokens":7}',
    '{"type":"token","t":"Once","i":0}',
    '{"eos_token_id":2,"api_token_file":"/run/key"}',
    '{"secret":null,"token":true,"password":{"set":false}}',
    '{"msg":"Enter password:","x":"y"}',
    '{"msg":"no such token="}',
    'http://127.0.0.1:8080/v1/health and ssh://git@host/repo',
    '{"url":"http://a:1","mail":"c@d"}',
    'the header must be "Bearer", one space and the key',
  ])('%s', (text) => expect(redact(text)).toBe(text));
});

it('hides a six-digit value that is no fingerprint', () => {
  expect(redact('password=a3f2c1 token=a3f2c1 {"token":"a3f2c1"}')).not.toContain('a3f2c1');
});

it('keeps every line of JSON valid and lets no quoted value through', () => {
  const name = fc.constantFrom('api_key', 'token', 'password', 'client_secret', 'HF_TOKEN');
  const secret = fc.string({ minLength: 4, maxLength: 20, unit: 'grapheme' }).map((text) => `QX${text}QX`);
  fc.assert(
    fc.property(name, secret, fc.string(), fc.double(), (key, value, message, figure) => {
      const line = JSON.stringify({ msg: message, [key]: value, nested: { [key]: value, n: figure }, after: message });
      const parsed = JSON.parse(redact(line));
      expect(parsed[key]).toBe(HIDDEN);
      expect(parsed.nested[key]).toBe(HIDDEN);
    }),
  );
});

it('takes any JSON and gives JSON back', () => {
  const word = fc.constantFrom(
    'token:',
    'password=',
    'api_key',
    '"',
    '\\',
    'Bearer ',
    '://a:b',
    '@',
    'eyJ.',
    ' ',
    ',',
    '}',
    '-----BEGIN PRIVATE KEY-----',
  );
  const text = fc.array(fc.oneof(word, fc.string({ maxLength: 4 }))).map((words) => words.join(''));
  fc.assert(
    fc.property(fc.dictionary(text, fc.oneof(text, fc.integer(), fc.constant(null), fc.array(text))), (object) => {
      expect(() =>
        JSON.parse(redact(JSON.stringify({ time: 't', ...object, text: JSON.stringify(object) }))),
      ).not.toThrow();
    }),
    { numRuns: 1000 },
  );
});

it.each(['eyJ-', 'token ', 'token="', 'a', '://', '://a:', '-----BEGIN ', 'Bearer ', 'api_key\\'])(
  'takes time in proportion to the length: %s',
  (part) => {
    const started = performance.now();
    redact(`key ${part.repeat(200_000 / part.length)}`);
    expect(performance.now() - started).toBeLessThan(1000);
  },
);

describe('a secret that is known', () => {
  const hidden = (value: string, text: string): string => {
    const forget = rememberSecret(value);
    try {
      return redact(text);
    } finally {
      forget();
    }
  };

  it.each([
    ['correct horse', 'it said: correct horse.', `it said: ${HIDDEN}.`],
    ['correct horse', 'correct horsecorrect horse', HIDDEN + HIDDEN],
    ['correct horse', '/v1/correct%20horse?x', `/v1/${HIDDEN}?x`],
    ['a "b" \\ c d', JSON.stringify({ m: 'a "b" \\ c d' }), `{"m":"${HIDDEN}"}`],
    ['a "b" \\ c d', JSON.stringify({ m: JSON.stringify('a "b" \\ c d') }), `{"m":"\\"${HIDDEN}\\""}`],
    ['Schlüssel 鍵', 'Ein Schlüssel 鍵, ä', `Ein ${HIDDEN}, ä`],
    ['nicest key', JSON.stringify({ m: 'a\nicest key' }), `{"m":"a${HIDDEN}"}`],
    ['nice key\\', '{"m":"nice key\\"x"}', `{"m":"${HIDDEN}x"}`],
    ['short', 'too short to be told from a word', 'too short to be told from a word'],
  ])('is hidden without a name before it: %s', (value, text, expected) => expect(hidden(value, text)).toBe(expected));

  it('is hidden whole where another one is its beginning', () => {
    const forget = [rememberSecret('twelve bytes'), rememberSecret('twelve bytes and more')];
    expect(redact('a twelve bytes and more b')).toBe(`a ${HIDDEN} b`);
    for (const each of forget) each();
  });

  it('is hidden until everybody has forgotten it', () => {
    const [first, second] = [rememberSecret('shared value'), rememberSecret(Buffer.from('shared value'))];
    first?.();
    first?.();
    expect(redact('a shared value')).toBe(`a ${HIDDEN}`);
    second?.();
    expect(redact('a shared value')).toBe('a shared value');
  });

  it('never breaks a line of JSON', () => {
    const word = fc.constantFrom('\\', '"', 'n', '\n', 'u0041', 'ä', '🗝', 'abcdefgh', ' ');
    const text = fc.array(word, { minLength: 4, maxLength: 12 }).map((words) => words.join(''));
    // A key with the quotes of JSON around it would be part of the JSON itself.
    const secret = text.map((value) => `Q${value.replaceAll('"', "'")}X012345`);
    fc.assert(
      fc.property(secret, text, fc.boolean(), (value, around, twice) => {
        const message = `${around}${value}${around}`;
        const line = JSON.stringify({ a: message, [`k${around}`]: twice ? JSON.stringify({ message }) : 1, z: around });
        const clean = hidden(value, line);
        expect(JSON.parse(clean).a).toContain(HIDDEN);
        expect(JSON.stringify(JSON.parse(clean))).not.toContain('X012345');
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the fields of an event', () => {
  it('lose what is secret, at any depth', () => {
    const forget = rememberSecret('correct horse');
    const clean = redactFields({
      human: 'said correct horse',
      list: ['Bearer abc', 7, { at: 'redis://:pass@host' }],
      details: { api_key: 'plain', token: 'token:a3f2c1', password: '', tokens: 5, reason: 'empty_token', none: null },
    });
    forget();
    expect(clean).toEqual({
      human: `said ${HIDDEN}`,
      list: [`Bearer ${HIDDEN}`, 7, { at: `redis://:${HIDDEN}@host` }],
      details: { api_key: HIDDEN, token: 'token:a3f2c1', password: '', tokens: 5, reason: 'empty_token', none: null },
    });
  });

  it('stay as they are where they are no plain values', () => {
    const when = new Date(0);
    expect(redactFields({ when }).when).toBe(when);
    expect(redactFields(undefined)).toBe(undefined);
  });
});
