import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseInput } from './field.js';
import { addNodeSchema, hiveCommandSchema, installRequestSchema, updateNodeSchema } from './node.js';
import { isRbeeError, type RbeeError } from './rbee-error.js';

const FINGERPRINT = `SHA256:${'a'.repeat(42)}8`;
const overSsh = { node_name: 'workstation', ssh_host: 'workstation.home.arpa' };
const atHive = { node_name: 'workstation', hive_url: 'http://10.0.0.2:9200', hive_token_file: '/etc/rbee/key' };

const add = (body: unknown) => parseInput(addNodeSchema, body, 'the body');
const update = (body: unknown) => parseInput(updateNodeSchema, body, 'the body');

function refusal(parse: () => unknown): RbeeError {
  try {
    parse();
  } catch (error) {
    if (isRbeeError(error)) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

interface FieldCases {
  readonly good: readonly unknown[];
  /** Values with the machine-readable reason; `undefined` where a schema of zod's own refuses. */
  readonly bad: readonly (readonly [unknown, string | undefined])[];
  /** Code of the refusals that have a reason. */
  readonly code: string;
}

const CONTROL: readonly (readonly [string, string])[] = [
  ['a\u0000b', 'null_byte'],
  ['a\nb', 'newline'],
  ['a\n', 'newline'],
  ['a\r', 'newline'],
  ['a\u001b[31m', 'ansi_escape'],
];
const HOSTILE: readonly (readonly [string, string])[] = [
  ...CONTROL,
  ['a b', 'special_characters'],
  ['ä', 'non_ascii'],
  ['a\u200bb', 'non_ascii'],
  ['a\u202eb', 'non_ascii'],
  ['<b>', 'html'],
  ['a;id', 'shell_metacharacters'],
  ['$(id)', 'shell_metacharacters'],
  ['`id`', 'shell_metacharacters'],
  ["a'b", 'shell_metacharacters'],
  ['a"b', 'shell_metacharacters'],
  ['a|b', 'shell_metacharacters'],
  ['a\\b', 'shell_metacharacters'],
  ['*', 'shell_metacharacters'],
];
const paths = (prefix: string): (readonly [string, string])[] =>
  [
    ...CONTROL,
    ['a\u0007b', 'control_character'],
    ['a\u007f', 'control_character'],
    ['a\u0085', 'control_character'],
    ['a\u009b31m', 'ansi_escape'],
    ['a\u200bb', 'special_characters'],
    ['a\u202eb', 'special_characters'],
  ].map(([text = '', reason = '']) => [`${prefix}${text}`, reason] as const);

const NOT_TEXT: readonly (readonly [unknown, undefined])[] = [
  [7, undefined],
  [true, undefined],
  [['a'], undefined],
  [{}, undefined],
];

const ssh: Record<string, FieldCases> = {
  node_name: {
    code: 'INVALID_NODE_NAME',
    good: ['a', 'workstation', 'GPU-1', 'a.b-c.d', '7', 'a'.repeat(63), `${'a'.repeat(31)}.${'b'.repeat(32)}`],
    bad: [
      ...HOSTILE,
      ...NOT_TEXT,
      ['', 'special_characters'],
      ['-a', 'special_characters'],
      ['a-', 'special_characters'],
      ['a..b', 'special_characters'],
      ['.a', 'special_characters'],
      ['a_b', 'special_characters'],
      ['../etc', 'path_traversal'],
      ['/etc', 'absolute_path'],
      [`${'a'.repeat(40)}.${'b'.repeat(40)}`, 'too_long'],
    ],
  },
  ssh_host: {
    code: 'INVALID_REQUEST',
    good: ['h', 'workstation.home.arpa', '192.168.1.20', 'my_alias', 'fe80::1', 'fe80::1%eth0', '::1', 'a'.repeat(253)],
    bad: [
      ...HOSTILE,
      ...NOT_TEXT,
      ['', 'special_characters'],
      ['-oProxyCommand=id', 'special_characters'],
      ['-h', 'special_characters'],
      ['user@host', 'special_characters'],
      ['host:22', 'special_characters'],
      ['[::1]', 'special_characters'],
      ['host/path', 'special_characters'],
      ['a'.repeat(254), 'too_long'],
    ],
  },
  ssh_port: {
    code: 'INVALID_REQUEST',
    good: [1, 22, 2222, 65535],
    bad: [
      [0, undefined],
      [-1, undefined],
      [65536, undefined],
      [22.5, undefined],
      ['22', undefined],
      [Number.NaN, undefined],
    ],
  },
  ssh_user: {
    code: 'INVALID_REQUEST',
    good: ['root', 'me', '_apt', 'first.last', 'me@example.org', 'machine$', 'a-b', 'a'.repeat(64)],
    bad: [
      ...HOSTILE,
      ...NOT_TEXT,
      ['', 'special_characters'],
      ['-l', 'special_characters'],
      ['$', 'shell_metacharacters'],
      ['a$b', 'shell_metacharacters'],
      ['a:b', 'special_characters'],
      ['a/b', 'special_characters'],
      ['a'.repeat(65), 'too_long'],
    ],
  },
  ssh_key_path: {
    code: 'INVALID_PATH',
    good: ['/home/me/.ssh/id_ed25519', "/home/o'brien/$(id)/`x`/a b", '/ключ', '/'],
    bad: [
      ...paths('/'),
      ...NOT_TEXT,
      ['', 'not_absolute'],
      ['id_ed25519', 'not_absolute'],
      ['~/.ssh/id_ed25519', 'not_absolute'],
      ['-i', 'not_absolute'],
      [`/${'a'.repeat(1024)}`, 'too_long'],
    ],
  },
  host_key_fingerprint: {
    code: 'INVALID_REQUEST',
    good: [FINGERPRINT, `SHA256:${'+/0'.repeat(14)}A`],
    bad: [
      ...HOSTILE,
      ...NOT_TEXT,
      ['', 'special_characters'],
      [`${FINGERPRINT}=`, 'too_long'],
      [FINGERPRINT.slice(0, -1), 'special_characters'],
      [`MD5:${'a'.repeat(43)}`, 'special_characters'],
      [`${FINGERPRINT}a`, 'too_long'],
    ],
  },
  git_repo_url: {
    code: 'INVALID_REQUEST',
    good: [
      'https://git.example/rbee.git',
      'http://git.example/rbee',
      'https://user:pass@git.example:8443/rbee.git',
      'ssh://git@git.example:2222/~/rbee.git',
      'git://git.example/rbee.git',
      'file:///srv/rbee.git',
      'git@git.example:me/rbee.git',
      '/srv/git/rbee.git',
      "https://git.example/o'brien/$(id).git",
    ],
    bad: [
      ...NOT_TEXT,
      ...paths('https://git.example/'),
      ['', 'special_characters'],
      ['ext::sh -c id', 'special_characters'],
      ['ext::sh', 'special_characters'],
      ['fd::17', 'special_characters'],
      ['--upload-pack=id', 'special_characters'],
      ['-uid', 'special_characters'],
      ['ssh://-oProxyCommand=id/rbee', 'special_characters'],
      ['https://-x/rbee', 'special_characters'],
      ['git@-oProxyCommand=id:rbee', 'special_characters'],
      ['git@git.example:-rbee', 'special_characters'],
      ['-git@git.example:rbee', 'special_characters'],
      ['rbee.git', 'special_characters'],
      ['~/rbee.git', 'special_characters'],
      ['ftp://git.example/rbee', 'special_characters'],
      ['https://git.example/a b', 'special_characters'],
      ['javascript:alert(1)', 'special_characters'],
      [`https://git.example/${'a'.repeat(1024)}`, 'too_long'],
    ],
  },
  git_branch: {
    code: 'INVALID_REQUEST',
    good: ['main', 'feature/x', 'v1.2.3', 'a_b+c@d', 'A-b', 'a'.repeat(200)],
    bad: [
      ...HOSTILE,
      ...NOT_TEXT,
      ['', 'special_characters'],
      ['-b', 'special_characters'],
      ['--upload-pack=id', 'special_characters'],
      ['/main', 'absolute_path'],
      ['main/', 'special_characters'],
      ['main.', 'special_characters'],
      ['.main', 'special_characters'],
      ['a/.b', 'special_characters'],
      ['a..b', 'special_characters'],
      ['a//b', 'special_characters'],
      ['a@{1}', 'shell_metacharacters'],
      ['main.lock', 'special_characters'],
      ['a.lock/b', 'special_characters'],
      ['a:b', 'special_characters'],
      ['a^', 'special_characters'],
      ['a~1', 'special_characters'],
      ['a'.repeat(201), 'too_long'],
    ],
  },
  install_path: {
    code: 'INVALID_PATH',
    good: ['~', '~/rbee', '/opt/rbee', '~/o\'brien $(id) `x` "y" \\', '~/-n', '/ünïcode'],
    bad: [
      ...paths('~/'),
      ...NOT_TEXT,
      ['', 'not_absolute'],
      ['rbee', 'not_absolute'],
      ['./rbee', 'not_absolute'],
      ['~root/rbee', 'not_absolute'],
      ['$HOME/rbee', 'not_absolute'],
      ['-rf', 'not_absolute'],
      [`~/${'a'.repeat(1024)}`, 'too_long'],
    ],
  },
  node_path: {
    code: 'INVALID_PATH',
    good: ['/usr/bin/node', '~/.nvm/versions/node/v22.1.0/bin/node'],
    bad: [...paths('/'), ...NOT_TEXT, ['node', 'not_absolute'], ['', 'not_absolute']],
  },
  hive_port: {
    code: 'INVALID_REQUEST',
    good: [1024, 9200, 65535],
    bad: [
      [80, undefined],
      [65536, undefined],
      ['9200', undefined],
      [9200.5, undefined],
    ],
  },
  backends: {
    code: 'INVALID_BACKEND',
    good: [[], ['cpu'], ['cuda', 'cpu'], '["cuda","cpu"]', '[]'],
    bad: [
      [['abacus'], 'unknown_backend'],
      [['CPU'], 'unknown_backend'],
      [['cpu;id'], 'shell_metacharacters'],
      ['["abacus"]', 'unknown_backend'],
      ['cpu', undefined],
      ['["cpu"', undefined],
      [{ cpu: 1 }, undefined],
      [Array(9).fill('cpu'), undefined],
      [[1], undefined],
    ],
  },
  devices: {
    code: 'INVALID_REQUEST',
    good: [{}, { cpu: 1 }, { cuda: 2, cpu: 1 }, '{"cuda":2,"cpu":1}', '{}', { cpu: 0 }],
    bad: [
      [{ abacus: 1 }, 'unknown_backend'],
      [{ 'cpu;id': 1 }, 'shell_metacharacters'],
      [{ cpu: -1 }, undefined],
      [{ cpu: 1.5 }, undefined],
      [{ cpu: '1' }, undefined],
      [{ cpu: 1025 }, undefined],
      ['{"cpu":', undefined],
      ['cpu', undefined],
      [['cpu'], undefined],
    ],
  },
};

const direct: Record<string, FieldCases> = {
  hive_url: {
    code: 'INVALID_REQUEST',
    good: ['http://10.0.0.2:9200', 'http://workstation.home.arpa:9200/', 'http://[fe80::1]:9200', 'http://workstation'],
    bad: [
      ...NOT_TEXT,
      ...CONTROL.map(([text, reason]) => [`http://${text}`, reason] as const),
      ['', 'special_characters'],
      ['https://10.0.0.2:9200', 'special_characters'],
      ['10.0.0.2:9200', 'special_characters'],
      ['file:///etc/passwd', 'special_characters'],
      ['http://user:pass@10.0.0.2:9200', 'special_characters'],
      ['http://10.0.0.2:9200/v1', 'special_characters'],
      ['http://10.0.0.2:9200?x', 'shell_metacharacters'],
      ['http://10.0.0.2:9200#x', 'special_characters'],
      ['http://10.0.0.2:99999', 'special_characters'],
      ['http://a b:9200', 'special_characters'],
      [`http://${'a'.repeat(256)}`, 'too_long'],
    ],
  },
  hive_token_file: {
    code: 'INVALID_PATH',
    good: ['/etc/rbee/key', '/home/me/a b'],
    bad: [...paths('/'), ...NOT_TEXT, ['key', 'not_absolute'], ['~/key', 'not_absolute'], ['', 'not_absolute']],
  },
};

const cases = [
  ...Object.entries(ssh).map(([field, values]) => ({ field, body: overSsh as Record<string, unknown>, ...values })),
  ...Object.entries(direct).map(([field, values]) => ({ field, body: atHive as Record<string, unknown>, ...values })),
];

describe.each(cases)('$field', ({ field, body, good, bad, code }) => {
  it.each(good.map((value) => [value]))('may be %j', (value) => {
    const expected = typeof value === 'string' && /^[[{]/.test(value) ? JSON.parse(value) : value;
    expect(add({ ...body, [field]: value })).toMatchObject({ [field]: expected });
    expect(update({ node_name: 'a', [field]: value })).toMatchObject({ [field]: expected });
  });

  it.each(bad)('may not be %j', (value, reason) => {
    for (const error of [
      refusal(() => add({ ...body, [field]: value })),
      refusal(() => update({ node_name: 'workstation', [field]: value })),
    ]) {
      expect(error).toMatchObject({ code: reason === undefined ? 'INVALID_REQUEST' : code, status: 400 });
      const [first] = error.details.errors as { field: string; reason?: string }[];
      expect(first?.field.split('.')[0]).toBe(field);
      if (reason !== undefined) expect(first?.reason).toBe(reason);
      // A value that does something to a terminal or a page must not come back. A short one may stand in our own words.
      if (typeof value === 'string' && value.length > 8) expect(error.message).not.toContain(value);
    }
  });
});

it('takes a node over SSH, at its hive, and nothing beside the fields', () => {
  expect(add({ ...overSsh, color: 'blue' })).toEqual(overSsh);
  expect(add(atHive)).toEqual(atHive);
});

it('takes null for a value that is left out', () => {
  const nothing = Object.fromEntries([...Object.keys(ssh), ...Object.keys(direct)].map((field) => [field, null]));
  expect(Object.values(add({ ...nothing, ...overSsh })).filter((value) => value !== undefined)).toHaveLength(2);
  expect(Object.values(update({ ...nothing, node_name: 'a' })).filter((value) => value !== undefined)).toEqual(['a']);
});

it.each([
  ['no way to it', { node_name: 'a' }, 'ssh_host'],
  ['both ways to it', { ...atHive, ...overSsh }, 'hive_url'],
  ['a hive without a key', { node_name: 'a', hive_url: atHive.hive_url }, 'hive_token_file'],
  ['a key of a hive that has its own', { ...overSsh, hive_token_file: '/etc/rbee/key' }, 'hive_token_file'],
  ...Object.entries({
    ssh_port: 22,
    ssh_user: 'me',
    ssh_key_path: '/key',
    host_key_fingerprint: FINGERPRINT,
    git_repo_url: 'https://git.example.com/rbee.git',
    git_branch: 'main',
    install_path: '~/rbee',
    node_path: '/usr/bin/node',
    hive_port: 9200,
  }).map(([field, value]): [string, object, string] => [
    `${field} of a hive without SSH`,
    { ...atHive, [field]: value },
    field,
  ]),
  ['no name', { ssh_host: 'a' }, 'node_name'],
  ['the name of the machine of the queen', { ...overSsh, node_name: 'localhost' }, 'node_name'],
])('refuses to add a node with %s', (_what, body, field) => {
  expect(refusal(() => add(body)).details.errors).toEqual([expect.objectContaining({ field })]);
});

it.each([
  ['both ways to it', { ...atHive, ...overSsh }, 'hive_url'],
  ['no name', { ssh_host: 'a' }, 'node_name'],
  ['the machine of the queen', { node_name: 'localhost', ssh_port: 22 }, 'node_name'],
])('refuses to change %s', (_what, body, field) => {
  expect(refusal(() => update(body)).details.errors).toEqual([expect.objectContaining({ field })]);
});

it('reports every bad field at once', () => {
  const error = refusal(() => add({ node_name: 'a b', ssh_port: 0, git_branch: '-b' }));
  const fields = (error.details.errors as { field: string }[]).map(({ field }) => field);
  expect(fields.sort()).toEqual(['git_branch', 'node_name', 'ssh_host', 'ssh_port']);
});

it.each([
  ['nothing', undefined],
  ['null', null],
  ['a list', [overSsh]],
  ['a text', 'workstation'],
  ['a number', 7],
])('refuses %s as a body', (_what, body) => {
  expect(refusal(() => add(body)).code).toBe('INVALID_REQUEST');
  expect(refusal(() => update(body)).code).toBe('INVALID_REQUEST');
});

it('answers whatever comes with a value or a coded refusal, and lets no control character through', () => {
  const anything = fc.oneof(fc.anything(), fc.string({ unit: 'binary' }), fc.constantFrom('/', '~/', 'http://', '-'));
  const body = fc.record(
    Object.fromEntries([...Object.keys(ssh), ...Object.keys(direct)].map((key) => [key, anything])),
  );
  fc.assert(
    fc.property(body, fc.constantFrom(add, update), (value, parse) => {
      try {
        const parsed = parse(value);
        const texts = Object.values(parsed).filter((each): each is string => typeof each === 'string');
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        for (const text of texts) expect(text).not.toMatch(/[\x00-\x1f\x7f]/);
      } catch (error) {
        expect(isRbeeError(error) && error.status).toBe(400);
      }
    }),
  );
});

it.each([
  ['installation', installRequestSchema, 'node_name'],
  ['command to a hive', hiveCommandSchema, 'node'],
] as const)('checks the name of the node of an %s', (_what, schema, field) => {
  expect(parseInput(schema, { [field]: 'workstation' }, 'the body')).toMatchObject({ [field]: 'workstation' });
  expect(refusal(() => parseInput(schema, { [field]: '../etc' }, 'the body')).code).toBe('INVALID_NODE_NAME');
  expect(refusal(() => parseInput(schema, {}, 'the body')).code).toBe('INVALID_REQUEST');
});
