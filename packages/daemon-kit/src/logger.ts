import { isNativeError } from 'node:util/types';
import { isRbeeError } from '@rbee/protocol';
import { type BaseLogger, type DestinationStream, multistream, pino, stdTimeFunctions } from 'pino';
import { LOG_LEVELS, type LogLevel } from './log-level.js';
import { redact } from './redact.js';

type Fields = Readonly<Record<string, unknown>>;

/** Writes JSON lines: `time`, `level`, `service`, `msg`, `correlation_id`, further fields. Secrets never get through. */
export interface Logger {
  debug(fields: Fields, message: string): void;
  info(fields: Fields, message: string): void;
  warn(fields: Fields, message: string): void;
  error(fields: Fields, message: string): void;
  /** A logger that adds fields to each line. */
  with(fields: Fields): Logger;
}

export interface LoggerOptions {
  readonly service: string;
  /** Lines below it are left out; a function is asked at each line, for a level that changes. */
  readonly level: LogLevel | (() => LogLevel);
  /** Where lines go, for example standard error and the service's log file. */
  readonly destinations: readonly DestinationStream[];
}

/** Builds the logger of a service. */
export function createLogger(options: LoggerOptions): Logger {
  const redacting = options.destinations.map((destination) => ({
    level: 'debug' as const,
    stream: { write: (line: string) => destination.write(redact(line)) },
  }));
  const instance = pino(
    {
      level: 'debug',
      base: { service: options.service },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => serializeError(error) },
    },
    multistream(redacting),
  );
  const { level } = options;
  return wrap(instance, typeof level === 'function' ? level : () => level);
}

/** Levels are compared here: a child of pino keeps the level that it was made with. */
function wrap(instance: BaseLogger & { child(fields: Fields): unknown }, level: () => LogLevel): Logger {
  const at = (name: 'debug' | 'info' | 'warn' | 'error') => (fields: Fields, message: string) => {
    if (LOG_LEVELS.indexOf(name) >= LOG_LEVELS.indexOf(level())) instance[name](fields, message);
  };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (fields) => wrap(instance.child(fields) as Parameters<typeof wrap>[0], level),
  };
}

/** Errors may name themselves as their cause, directly or in a ring. */
const MAX_CAUSES = 5;

function serializeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error || isNativeError(error))) return error;
  return {
    ...(isRbeeError(error) ? { error_code: error.code, details: error.details } : {}),
    message: error.message,
    stack: error.stack,
    ...(error.cause === undefined || depth === MAX_CAUSES ? {} : { cause: serializeError(error.cause, depth + 1) }),
  };
}
