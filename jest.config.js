const nodeMajor = Number(process.versions.node.split('.')[0]);

/** Needs NODE_OPTIONS=--experimental-vm-modules, which scripts/test.mjs sets. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/apps', '<rootDir>/packages', '<rootDir>/scripts'],
  testMatch: ['**/src/**/*.test.ts', '<rootDir>/scripts/*.test.mjs'],
  modulePathIgnorePatterns: ['/dist/', '/\\.tsbuild/'],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': ['$1.js', '$1.ts'] },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'es6' },
        jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
      },
    ],
  },
  // Workspace packages are linked into node_modules and export TypeScript; only their real paths reach the transform.
  transformIgnorePatterns: ['/node_modules/'],
  maxWorkers: 2,
  // On Node 24, collecting a better-sqlite3 statement while another test file's context is entered aborts the process: on
  // such versions each file gets a process of its own.
  ...(nodeMajor >= 22 ? { workerIdleMemoryLimit: '1MB' } : {}),
  testTimeout: 20_000,
  coverageDirectory: 'coverage',
  collectCoverageFrom: ['apps/*/src/**/*.ts', 'packages/*/src/**/*.ts', '!**/*.test.ts', '!**/main.ts'],
};
