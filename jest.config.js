/** Needs NODE_OPTIONS=--experimental-vm-modules, which scripts/test.mjs sets. */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/apps', '<rootDir>/packages'],
  testMatch: ['**/src/**/*.test.ts'],
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
  testTimeout: 20_000,
  coverageDirectory: 'coverage',
  collectCoverageFrom: ['apps/*/src/**/*.ts', 'packages/*/src/**/*.ts', '!**/*.test.ts', '!**/main.ts'],
};
