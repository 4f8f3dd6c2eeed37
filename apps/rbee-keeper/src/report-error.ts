import { userPaths } from '@rbee/daemon-kit/client';
import { toRbeeError } from '@rbee/protocol';
import type { KeeperEnvironment } from './keeper-environment.js';
import type { Output } from './output.js';
import { errorToJson, renderError } from './render-error.js';
import type { KeeperSettings } from './settings.js';

/**
 * Tells about a failure: a block on standard error and, with `--json`, one JSON object on standard output. A terminal that
 * shows both gets only the object.
 */
export function reportError(
  caught: unknown,
  { env, output, settings }: { env: KeeperEnvironment; output: Output; settings: KeeperSettings | undefined },
): void {
  const error = toRbeeError(caught);
  if (output.json) {
    output.object(errorToJson(error));
    if (output.isTerminal && output.isResultTerminal) return;
  }
  const { palette, verbose } = output;
  output.block(renderError(error, { palette, verbose, logs: settings?.logDir ?? userPaths(env).logs, settings }));
}
