/** The first directory on the PATH of the command that has a program of this name. */
export const ON_PATH = 'on PATH';

/** The first on the PATH that the user's login shell sets up, which a command without a terminal does not see. */
export const ON_LOGIN_PATH = 'on login PATH';

/**
 * Where Node.js is looked for on a machine, best first: the two words above, or a path in which `~/` is the home folder
 * and `*` matches anything. Of several that match one pattern the newest counts.
 */
export const NODE_CANDIDATES: readonly string[] = [
  ON_PATH,
  ON_LOGIN_PATH,
  '~/.nvm/versions/node/*/bin/node',
  '~/.config/nvm/versions/node/*/bin/node',
  '/opt/homebrew/bin/node',
  '/opt/homebrew/opt/node@*/bin/node',
  '/usr/local/bin/node',
  '/usr/local/opt/node@*/bin/node',
  '/home/linuxbrew/.linuxbrew/bin/node',
  '/home/linuxbrew/.linuxbrew/opt/node@*/bin/node',
  '~/.volta/tools/image/node/*/bin/node',
  '~/.local/share/fnm/node-versions/*/installation/bin/node',
  '~/Library/Application Support/fnm/node-versions/*/installation/bin/node',
  '~/.fnm/node-versions/*/installation/bin/node',
  '~/.asdf/installs/nodejs/*/bin/node',
  '~/.local/share/mise/installs/node/*/bin/node',
  '~/n/bin/node',
  '~/.local/bin/node',
  '/usr/bin/node',
];
