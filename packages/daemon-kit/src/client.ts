/** What a command-line client needs of this package; it loads no HTTP server and no logger. */
export * from './call.js';
export * from './clock.js';
export * from './config-file.js';
export * from './duration.js';
export * from './environment.js';
export * from './lifecycle.js';
export * from './paths.js';
export * from './processes.js';
export * from './redact.js';
export * from './retry.js';
export * from './secret-file.js';
export * from './settings.js';
export * from './silent-logger.js';
export * from './state-folder.js';
export * from './tail.js';
export * from './timeouts.js';
export * from './transport.js';
