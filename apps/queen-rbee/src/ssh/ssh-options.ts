import { execFile } from 'node:child_process';

const SSH_TIMEOUT_MS = 10_000;

/** What `ssh -G` prints: the values of each keyword, in lower case, as one text each. */
export type SshOptions = ReadonlyMap<string, readonly string[]>;

interface SshAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the ssh program with these arguments; `undefined` where this machine has none. */
export type RunSsh = (args: readonly string[]) => Promise<SshAnswer | undefined>;

/** Runs the real ssh program. */
export function sshProgram(variables: Readonly<Record<string, string | undefined>>): RunSsh {
  return (args) =>
    new Promise((resolve, reject) => {
      const options = { env: variables as NodeJS.ProcessEnv, timeout: SSH_TIMEOUT_MS };
      const child = execFile('ssh', [...args], options, (error, stdout, stderr) => {
        if (error?.code === 'ENOENT') return resolve(undefined);
        if (error && typeof error.code !== 'number') return reject(error);
        resolve({ code: Number(error?.code ?? 0), stdout, stderr });
      });
      // A command of `Match exec` must not wait for our input.
      child.stdin?.end();
    });
}

/** Reads what `ssh -G` prints. */
export function parseSshOptions(text: string): SshOptions {
  const options = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const match = /^(\S+) (.*)$/.exec(line.trimEnd());
    if (!match) continue;
    const [, keyword = '', value = ''] = match;
    const values = options.get(keyword.toLowerCase()) ?? [];
    values.push(value);
    options.set(keyword.toLowerCase(), values);
  }
  return options;
}

/** A keyword's value where it differs from what ssh uses by itself; its last one where it has several. */
export function whereSet(options: SshOptions, usual: SshOptions, keyword: string): string | undefined {
  const value = options.get(keyword)?.join('\n');
  return value === usual.get(keyword)?.join('\n') ? undefined : value;
}

/** Splits a list of paths; ssh prints it without quotes, so that only a new absolute path tells where one ends. */
export function splitPaths(text: string): string[] {
  return text.split(/ (?=[/~])/).filter((path) => path !== '' && path !== 'none');
}

export interface TokenValues {
  readonly home: string;
  readonly localUser: string;
  readonly hostname: string;
  readonly uid: number;
  readonly host: string;
  readonly originalHost: string;
  readonly port: number;
  readonly user: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** A path of ssh_config(5) with `~`, its tokens and `${VARIABLE}` replaced; `undefined` when it holds an unknown token. */
export function expandPath(path: string, values: TokenValues): string | undefined {
  const tokens: Readonly<Record<string, string>> = {
    '%': '%',
    d: values.home,
    h: values.host,
    i: String(values.uid),
    k: values.originalHost,
    L: values.hostname.split('.')[0] ?? '',
    l: values.hostname,
    n: values.originalHost,
    p: String(values.port),
    r: values.user,
    u: values.localUser,
  };
  let unknown = false;
  const expanded = path
    .replace(/^~(?=\/|$)/, () => values.home)
    .replace(/%(.)|\$\{(\w+)\}/g, (_whole, token: string | undefined, variable: string | undefined) => {
      const value = token === undefined ? values.variables[variable ?? ''] : tokens[token];
      if (value === undefined) unknown = true;
      return value ?? '';
    });
  return unknown ? undefined : expanded;
}
