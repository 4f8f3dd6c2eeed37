import { EventEmitter } from 'node:events';
import { Writable } from 'node:stream';
import { type Environment, processEnvironment } from '@rbee/daemon-kit';
import { runCli } from '../src/cli.js';

export interface CommandOptions extends Partial<Omit<Environment, 'args' | 'stdout' | 'stderr'>> {
  /** Hears of each piece of standard output. */
  readonly onOutput?: (text: string, signals: EventEmitter) => void;
}

/** Runs a command line in this process, with its output captured. */
export async function runCommand(args: readonly string[], { onOutput, ...environment }: CommandOptions = {}) {
  const text = { stdout: '', stderr: '' };
  const signals = new EventEmitter();
  const capture = (name: keyof typeof text) =>
    new Writable({
      write(chunk, _encoding, done) {
        text[name] += chunk;
        if (name === 'stdout') onOutput?.(text.stdout, signals);
        done();
      },
    }) as unknown as NodeJS.WriteStream;
  const outside = { ...processEnvironment(), ...environment };
  const code = await runCli({ ...outside, args, stdout: capture('stdout'), stderr: capture('stderr') }, signals);
  return { code, ...text };
}
