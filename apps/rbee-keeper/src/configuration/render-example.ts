import { type Setting, type SettingName, settingCatalogue } from '@rbee/daemon-kit/client';

const WIDTH = 100;

/** What stands for a setting that has no default. */
const EXAMPLES: Partial<Record<SettingName, string | number>> = {
  queenUrl: 'http://127.0.0.1:8080',
  remoteBinaryPath: '/opt/rbee/bin/rbee-hive',
  remoteGitRepoDir: '/opt/rbee/source',
  listenAddr: '127.0.0.1:9200',
  apiTokenFile: '~/.rbee/secrets/api.token',
  hiveTokenFile: '~/.rbee/secrets/hive.token',
  hubTokenFile: '~/.cache/huggingface/token',
  downloadMbPerS: 20,
  maxWorkers: 2,
  slotsPerWorker: 4,
};

const HEADER = [
  'The configuration of rbee: every key that its programs act upon.',
  '',
  'Copy this file to ~/.config/rbee/config.toml, or to /etc/rbee/config.toml for all users of a machine, and take the # ' +
    'away from the lines that you change. They show the default, or an example where there is none. A flag of a command ' +
    'and an environment variable count more than this file. A path may begin with ~/; a relative one starts at the folder ' +
    'of this file.',
  '',
  'live: a daemon that runs takes a new value when it gets SIGHUP; for the others it has to be started again.',
  'This text is printed by: rbee-keeper config example',
];

const SECTION_NOTES: Readonly<Record<string, string>> = {
  timeouts:
    'Time limits, written as 500ms, 30s, 5m or 1h: how long something lasts, or until when something has happened.',
};

/** A configuration file in which every key of the file that has an effect stands commented out, with its default or an example. */
export function renderExample(): string {
  const sections = new Map<string, string[]>();
  for (const [name, entry] of Object.entries<Setting>(settingCatalogue)) {
    if (entry.file === undefined || entry.readBy?.length === 0) continue;
    const [section = '', key = ''] = entry.file.split('.');
    const value = EXAMPLES[name as SettingName] ?? entry.default;
    const lines = [...describeSetting(entry), `#${key} = ${toToml(entry, value)}`];
    sections.set(section, [...(sections.get(section) ?? []), '', ...lines]);
  }
  const blocks = [...sections].map(([section, lines]) => {
    const note = SECTION_NOTES[section];
    return ['', ...(note === undefined ? [] : wrap(note)), `[${section}]`, ...lines].join('\n');
  });
  return `${[...HEADER.flatMap(wrap), ...blocks].join('\n')}\n`;
}

function describeSetting(entry: Setting): string[] {
  const facts = [
    ...(entry.env ?? []),
    ...(entry.reload === 'live' ? ['live'] : []),
    ...(entry.default === undefined ? [`default: ${entry.shownDefault ?? 'none'}`] : []),
  ];
  return wrap(`${entry.describe}${facts.length === 0 ? '' : ` (${facts.join('; ')})`}`);
}

function toToml(entry: Setting, value: unknown): string {
  if (entry.kind === 'duration' && typeof value === 'number') return JSON.stringify(toDurationText(value));
  return JSON.stringify(value);
}

/** Milliseconds as they are written in the file, in the largest unit that keeps them whole. */
function toDurationText(ms: number): string {
  const units = [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const;
  const [unit, size] = units.find(([, each]) => ms % each === 0 && ms > 0) ?? ['ms', 1];
  return ms === 0 ? '0s' : `${ms / size}${unit}`;
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ').filter((each) => each !== '')) {
    if (line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = '#';
    }
    line = `${line} ${word}`;
  }
  return [...lines, line];
}
