import { isNativeError } from 'node:util/types';
import { isRbeeError } from '@rbee/protocol';
import { type BaseLogger, type DestinationStream, multistream, pino, stdTimeFunctions } from 'pino';
import type { LogLevel } from './log-level.js';
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
  readonly level: LogLevel;
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
      level: options.level,
      base: { service: options.service },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: (error: unknown) => serializeError(error) },
    },
    multistream(redacting),
  );
  return wrap(instance);
}

function wrap(instance: BaseLogger & { child(fields: Fields): unknown }): Logger {
  return {
    debug: (fields, message) => instance.debug(fields, message),
    info: (fields, message) => instance.info(fields, message),
    warn: (fields, message) => instance.warn(fields, message),
    error: (fields, message) => instance.error(fields, message),
    with: (fields) => wrap(instance.child(fields) as Parameters<typeof wrap>[0]),
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
