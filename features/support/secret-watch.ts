import { createHash } from 'node:crypto';
import { appendFileSync, type Dirent, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { SecretFinder, SHORTEST_SECRET } from '@rbee/fixtures';
import type { RbeeWorld } from './world.js';

/** Keys of workers go with their worker, which lives for longer than this. */
const KEYS_EVERY_MS = 200;
const COMMANDS_EVERY_MS = 1_000;
/** Largest file that may be a key. */
const KEY_BYTES = 4_096;
const SECRET_VARIABLE = /(?:TOKEN|KEY|PASSWORD|SECRET)$/;
const GONE = ['ENOENT', 'ESRCH', 'EACCES', 'ENOTDIR', 'EISDIR'];

/** What the whole runner has asked for by `fetch`: what was refused, and what was told in streams. */
let noteFetched: ((what: string, text: string) => void) | undefined;
const plainFetch = globalThis.fetch;
globalThis.fetch = async (...args) => {
  const response = await plainFetch(...args);
  const note = noteFetched;
  if (!note || !response.body) return response;
  const what = `answer ${response.status} of ${response.url}`;
  if (response.status >= 400) {
    response
      .clone()
      .text()
      .then(
        (text) => note(what, text),
        () => undefined,
      );
    return response;
  }
  if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return response;
  const decoder = new TextDecoder();
  let text = '';
  const listening = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      text += decoder.decode(chunk, { stream: true });
      const end = text.lastIndexOf('\n\n');
      if (end >= 0) {
        note(what, text.slice(0, end));
        text = text.slice(end);
      }
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(listening), response);
};

/**
 * Looks for the secrets of a scenario wherever they must not be: in logs, in what programs write, in refusals and streams, in
 * command lines. Its secrets are what stands in files that only their owner may read, in variables that are named like one, and
 * what steps add.
 */
export class SecretWatch {
  readonly #world: RbeeWorld;
  /** Fingerprint and origin of each secret, by its value. */
  readonly #secrets = new Map<string, string>();
  /** What was seen outside of files, by where. */
  readonly #texts = new Map<string, string>();
  readonly #commands = new Set<string>();
  #timers: NodeJS.Timeout[] = [];
  #counts = { secrets: 0, texts: 0 };

  constructor(world: RbeeWorld) {
    this.#world = world;
  }

  start(): void {
    noteFetched = (what, text) => this.note(what, text);
    this.#timers = [
      setInterval(() => this.#gatherSecrets(), KEYS_EVERY_MS).unref(),
      setInterval(() => this.#gatherCommands(), COMMANDS_EVERY_MS).unref(),
    ];
  }

  stop(): void {
    noteFetched = undefined;
    for (const timer of this.#timers) clearInterval(timer);
  }

  /** Adds a secret. One that is too short to be told from other texts is left out. */
  keep(secret: string, origin: string): void {
    if (secret.length < SHORTEST_SECRET || this.#secrets.has(secret)) return;
    const fingerprint = createHash('sha256').update(secret).digest('hex').slice(0, 6);
    this.#secrets.set(secret, `token:${fingerprint} of ${origin}`);
  }

  /** Adds a text that must hold no secret. */
  note(what: string, text: string): void {
    this.#texts.set(what, `${this.#texts.get(what) ?? ''}\n${text}`);
  }

  /** Where secrets were found that must not be there, one line each, by their fingerprint. */
  findLeaks(): string[] {
    this.#gatherSecrets();
    this.#gatherCommands();
    const texts = [...this.#allTexts()];
    const leaks = [...this.#secrets].flatMap(([secret, name]) => {
      const finder = new SecretFinder(secret);
      return texts.flatMap(([what, text]) => {
        const form = finder.findIn(text);
        return form ? [`${name} as ${form} in ${what}`] : [];
      });
    });
    this.#counts = { secrets: this.#secrets.size, texts: texts.length };
    return leaks;
  }

  /** Writes down how much was looked at; scripts/secret-report.mjs adds it up. */
  report(scenario: string, leaks: readonly string[]): void {
    const folder = join(import.meta.dirname, '../../reports');
    mkdirSync(folder, { recursive: true });
    appendFileSync(join(folder, 'secrets.ndjson'), `${JSON.stringify({ scenario, ...this.#counts, leaks })}\n`);
  }

  *#allTexts(): Generator<[string, string]> {
    yield* this.#texts;
    for (const command of this.#commands) yield [`the command line ${command.slice(0, 60)}…`, command];
    for (const { name, text } of this.#world.programs) {
      yield [`stdout of ${name}`, text.stdout];
      yield [`stderr of ${name}`, text.stderr];
    }
    for (const home of this.#world.homes) {
      for (const path of filesThatTell(home)) yield [relative(home, path), readIfThere(path) ?? ''];
    }
  }

  #gatherSecrets(): void {
    for (const [name, value] of Object.entries(this.#world.variables)) {
      if (SECRET_VARIABLE.test(name)) this.keep(value, `the variable ${name}`);
    }
    for (const home of this.#world.homes) {
      const folders = ['.', '.rbee/run/workers', '.rbee/secrets', '.config/rbee/secrets', '.ssh'];
      for (const folder of folders) {
        for (const entry of list(join(home, folder))) {
          if (entry.isFile() && (folder !== '.rbee/run/workers' || entry.name.endsWith('.key')))
            this.#gatherFile(join(home, folder, entry.name), relative(home, join(home, folder, entry.name)));
        }
      }
    }
  }

  #gatherFile(path: string, name: string): void {
    try {
      const { mode, size } = statSync(path);
      if ((mode & 0o077) !== 0 || size > KEY_BYTES) return;
    } catch (error) {
      if (GONE.includes((error as NodeJS.ErrnoException).code ?? '')) return;
      throw error;
    }
    const text = readIfThere(path)?.replace(/\r?\n$/, '') ?? '';
    const [first = '', ...lines] = text.split('\n');
    if (lines.length === 0) this.keep(first, name);
    // The first line of a private key of SSH is the same for everybody.
    else if (first.startsWith('-----BEGIN')) for (const line of lines.slice(1, -1)) this.keep(line, name);
  }

  #gatherCommands(): void {
    const homes = this.#world.homes.map((home) => `HOME=${home}`);
    for (const { name } of list('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const environment = readIfThere(`/proc/${name}/environ`);
      if (!environment?.split('\0').some((variable) => homes.includes(variable))) continue;
      const command = readIfThere(`/proc/${name}/cmdline`)?.replaceAll('\0', ' ').trim();
      if (command) this.#commands.add(command);
    }
  }
}

/** Logs, outputs of daemons, and temporary files, but for what Node.js caches of its own programs. */
function filesThatTell(home: string): string[] {
  const outputs = list(join(home, '.rbee')).filter(({ name }) => name.endsWith('.log'));
  return [
    ...outputs.map(({ name }) => join(home, '.rbee', name)),
    ...filesBelow(join(home, '.rbee/logs')),
    ...filesBelow(join(home, 'tmp')),
  ];
}

function filesBelow(folder: string): string[] {
  return list(folder).flatMap((entry) => {
    if (entry.name === 'node-compile-cache' || entry.name.startsWith('tsx-')) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}

function list(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (GONE.includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (GONE.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}
