import { redact, redactFields } from '@rbee/daemon-kit/client';
import { RbeeError, toErrorEnvelope } from '@rbee/protocol';
import { adviceFor, componentOf, isOwnRefusal } from './error-advice.js';
import type { Palette } from './palette.js';
import { toPrintable, toPrintableLine } from './printable-text.js';
import type { KeeperSettings } from './settings.js';

export interface ErrorRendering {
  readonly palette: Palette;
  readonly verbose: boolean;
  /** Folder of the logs, for errors that only a log explains. */
  readonly logs: string;
  /** For errors about keys: the queen that was asked, and the configuration file in use. */
  readonly settings?: Pick<KeeperSettings, 'queenUrl' | 'configFile' | 'configSearched'> | undefined;
}

/** What the message tells already, or what is not for people. */
const HIDDEN_FACTS = new Set([
  'errors',
  'problems',
  'reason',
  'output',
  'last_output',
  'usage',
  'partial',
  'stack',
  'resume',
  'resume_reason',
  'retry_after_seconds',
]);
/** Facts that stand in the message as a rule; they are listed only where they don't. */
const TOLD_ONCE = new Set(['deadline', 'variants']);
const MEGABYTES = new Set(['required', 'available', 'missing', 'free', 'total']);

/** The block for standard error: what happened, the facts, and what to do next; without keys, whoever sent them. */
export function renderError(failure: RbeeError, how: ErrorRendering): string {
  const { palette } = how;
  const error = withoutSecrets(failure);
  const lines = [
    `${palette.dim(`[${componentOf(error)}]`)} ${palette.red('Error:')} ${toPrintable(messageOf(error))}`,
    ...factLines(error, how).map(([name, value]) => `  ${palette.dim(`${name}:`)} ${value}`),
    ...outputLines(error),
  ];
  const advice = suggestionsFor(error, how);
  if (advice.length > 0) lines.push('', ...advice.map(toPrintable));
  if (how.verbose) lines.push('', palette.dim(toPrintable(redact(traceOf(failure)))));
  return `${lines.join('\n')}\n`;
}

/** The error as every service of rbee would answer it, without keys. */
export function errorToJson(failure: RbeeError): object {
  const error = withoutSecrets(failure);
  const { error: body } = toErrorEnvelope(error, error.correlationId ?? '');
  if (body.correlation_id) return { error: body };
  const { correlation_id: _none, ...rest } = body;
  return { error: rest };
}

function withoutSecrets(error: RbeeError): RbeeError {
  const { code, message, details, suggestion, retryable, correlationId } = error;
  return new RbeeError(code, isAboutSettings(error) ? message : redact(message), {
    details: redactFields(details),
    ...(suggestion === undefined ? {} : { suggestion: redact(suggestion) }),
    retryable,
    ...(correlationId === undefined ? {} : { correlationId }),
  });
}

/** What is said of wrong settings here never holds their values, and `auth.api_token: unknown key` only looks as if it did. */
function isAboutSettings({ code, details, correlationId }: RbeeError): boolean {
  return code === 'CONFIG_INVALID' && Array.isArray(details.problems) && correlationId === undefined;
}

function factLines(error: RbeeError, how: ErrorRendering): [string, string][] {
  const inMegabytes = error.status === 507;
  const facts: [string, string][] = [['code', error.code]];
  for (const [key, value] of Object.entries(error.details)) {
    if (key === 'tokens_out' && error.details.tokens !== undefined) continue;
    if (key === 'service' && error.status === 401 && isOwnRefusal(error.details)) continue;
    if (HIDDEN_FACTS.has(key) || (TOLD_ONCE.has(key) && isTold(value, error.message))) continue;
    const text = toFact(value);
    if (text === undefined) continue;
    const unit = inMegabytes && typeof value === 'number' && MEGABYTES.has(key) ? ' MB' : '';
    facts.push([key.replaceAll('_', ' ').replace(/ ms$/, ' (ms)'), `${toPrintableLine(text)}${unit}`]);
  }
  if (error.code === 'INTERNAL_ERROR' && error.correlationId) facts.push(['correlation id', error.correlationId]);
  if (error.status === 401) facts.push(...keyFacts(error, how));
  return facts;
}

/** Who refused the key, unless the facts name it already, and which file says what key is sent. */
function keyFacts({ details }: RbeeError, { settings }: ErrorRendering): [string, string][] {
  if (settings === undefined) return [];
  const { queenUrl, configFile, configSearched } = settings;
  const configuration = configFile ?? `none (looked for ${configSearched.join(', ')})`;
  return [
    ...(isOwnRefusal(details) ? [['service', `queen-rbee at ${queenUrl}`] satisfies [string, string]] : []),
    ['configuration', toPrintableLine(configuration)],
  ];
}

/** Whether a message names a fact, or every item of a list. */
function isTold(value: unknown, message: string): boolean {
  return [value].flat().every((item) => message.includes(String(item)));
}

function toFact(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (!Array.isArray(value)) return typeof value === 'object' ? joinFields(value) : String(value);
  if (value.length === 0) return 'none';
  const scalars = value.every((item) => typeof item !== 'object');
  return value.map((item) => toFact(item) ?? 'none').join(scalars ? ', ' : '; ');
}

function joinFields(value: object): string {
  return Object.entries(value)
    .map(([key, field]) => `${key.replaceAll('_', ' ')} ${toFact(field) ?? 'none'}`)
    .join(', ');
}

function outputLines(error: RbeeError): string[] {
  const output = error.details.output ?? error.details.last_output;
  if (!Array.isArray(output) || output.length === 0) return [];
  return ['  last output:', ...output.map((line) => `    ${toPrintableLine(String(line))}`)];
}

function suggestionsFor(error: RbeeError, how: ErrorRendering): string[] {
  if (error.code === 'INTERNAL_ERROR') {
    if (!error.correlationId) return ['Run it again with --verbose to see where it went wrong.'];
    return [`The logs tell more under this correlation id: ${how.logs}`];
  }
  const suggestion = error.suggestion ?? adviceFor(error);
  const told = suggestion === undefined ? [] : suggestion.split('\n').map(toSentence);
  const { retry_after_seconds: seconds } = error.details;
  const isTold = typeof seconds !== 'number' || told.some((line) => line.includes(`${seconds} s`));
  return isTold ? told : [`Come back in about ${seconds} s.`, ...told];
}

/** What happened, and why a generation that lost its worker could not go on elsewhere. */
function messageOf({ details, message }: RbeeError): string {
  const { resume, resume_reason: reason } = details;
  if (resume !== 'RESUME_IMPOSSIBLE' || (typeof reason === 'string' && message.includes(reason))) return message;
  return `${message}; it could not go on at another worker${typeof reason === 'string' ? `: ${reason}` : ''}`;
}

/** Suggestions are fragments on the wire; commands, flags and paths at their start keep their case. */
export function toSentence(text: string): string {
  return /^(rbee|ssh|--|\.|\/|~)/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

function traceOf(error: unknown): string {
  const own = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const cause = error instanceof Error ? error.cause : undefined;
  return cause === undefined ? own : `${own}\nCaused by: ${traceOf(cause)}`;
}
