import { userInfo } from 'node:os';
import type { Environment } from '@rbee/daemon-kit';
import { RbeeError } from '@rbee/protocol';
import { LaunchdService } from './launchd-service.js';
import { toolRunner } from './run-tool.js';
import type { ServiceManager } from './service.js';
import { SystemdService } from './systemd-service.js';

const OTHERWISE = 'without a service, a queen starts the hive whenever it is needed';

/** The service manager of this machine. Throws INSTALL_FAILED for systems without one that is known. */
export function chooseServiceManager({ platform, home, variables }: Environment): ServiceManager {
  const { uid, username: user } = userInfo();
  if (platform === 'darwin') {
    const advice = `log in at this Mac once as ${user}, then try again; ${OTHERWISE}`;
    return new LaunchdService({ home, uid, run: toolRunner(variables, advice) });
  }
  if (platform !== 'linux') {
    throw new RbeeError('INSTALL_FAILED', `there is no service for ${platform}, only for Linux and macOS`, {
      details: { step: 'service' },
      suggestion: 'start the hive by hand: rbee-hive daemon --detach',
    });
  }
  // A command over SSH may run without the variable by which systemctl finds the user's manager.
  const runtimeFolder = variables.XDG_RUNTIME_DIR ?? `/run/user/${uid}`;
  const advice = `with systemd, run: sudo loginctl enable-linger ${user}; ${OTHERWISE}`;
  return new SystemdService({ home, user, run: toolRunner({ ...variables, XDG_RUNTIME_DIR: runtimeFolder }, advice) });
}
