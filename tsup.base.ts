import type { Options } from 'tsup';

/**
 * How every app is bundled: one ESM program with the workspace packages and everything they depend on inside,
 * because pnpm keeps the dependencies of a workspace package out of reach of an app's dist folder.
 */
export const bundle: Options = {
  entry: ['src/main.ts'],
  format: 'esm',
  platform: 'node',
  target: 'node20',
  outDir: 'dist',
  clean: true,
  dts: false,
  sourcemap: true,
  splitting: true,
  silent: true,
  // Bundled CommonJS packages call require() for Node's own modules, which an ES module doesn't have.
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  },
  noExternal: [/^@rbee\//, 'express', 'pino', 'smol-toml', 'zod', 'eventsource-parser'],
};
