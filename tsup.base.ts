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

/** A plugin of the bundler. */
export type Plugin = NonNullable<Options['esbuildPlugins']>[number];

/**
 * The workspace packages only define things. Knowing that, the bundler leaves out of each chunk what the chunk does not
 * use of them: a command that only prints loads no schemas, and a process that fetches a file no server.
 */
export const pureWorkspacePackages: Plugin = {
  name: 'pure-workspace-packages',
  setup(build) {
    build.onResolve({ filter: /^(@rbee\/|\.\.?\/)/ }, async ({ path, kind, importer, resolveDir, pluginData }) => {
      if (pluginData === 'resolving') return undefined;
      const resolved = await build.resolve(path, { kind, importer, resolveDir, pluginData: 'resolving' });
      return /[\\/]packages[\\/]/.test(resolved.path) ? { ...resolved, sideEffects: false } : resolved;
    });
  },
};
