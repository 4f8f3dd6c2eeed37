import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Given } from '@cucumber/cucumber';
import { growTo, writeMadeModel } from '@rbee/fixtures';
import { PROJECT, type RbeeWorld } from '../support/world.js';

const BUNDLED = join(PROJECT, 'models/honeycomb-q4_k_m.gguf');

Given('the bundled model copied as {string} into the models folder', function (this: RbeeWorld, name: string) {
  copyFileSync(BUNDLED, modelPath(this, name));
});

Given(
  'the bundled model cut to {int} bytes as {string} in the models folder',
  function (this: RbeeWorld, size: number, name: string) {
    writeFileSync(modelPath(this, name), readFileSync(BUNDLED).subarray(0, size));
  },
);

Given(
  'a file {string} in the models folder that says {string}',
  function (this: RbeeWorld, name: string, text: string) {
    writeFileSync(modelPath(this, name), text);
  },
);

Given(
  'a made model {string} with a vocabulary of {int} and the end-of-sequence token {int}',
  function (this: RbeeWorld, name: string, vocabulary: number, eosTokenId: number) {
    writeMadeModel(modelPath(this, name), { vocabulary, eosTokenId });
  },
);

Given('a made model {string} that never ends', function (this: RbeeWorld, name: string) {
  writeMadeModel(modelPath(this, name), { endless: true, contextLength: 4096 });
});

Given('a made model {string} of {int} MB', function (this: RbeeWorld, name: string, megabytes: number) {
  writeMadeModel(modelPath(this, name));
  growTo(modelPath(this, name), megabytes);
});

Given(
  'a machine with {int} MB of free memory and the backends {string}',
  function (this: RbeeWorld, ramAvailableMb: number, backends: string) {
    const names = backends.split(', ');
    this.presentMachine({
      backends: names.map((name) => ({ name, devices: name === 'cuda' ? 2 : 1 })),
      ram_total_mb: 16_000,
      ram_available_mb: ramAvailableMb,
      disk_total_mb: 500_000,
      disk_available_mb: 400_000,
      gpus: names.includes('cuda')
        ? [0, 1].map((index) => ({
            backend: 'cuda',
            index,
            name: 'Test GPU',
            vram_total_mb: 16_000,
            vram_free_mb: 12_000,
          }))
        : [],
    });
  },
);

Given(
  'a machine with {int} MB of free memory whose CUDA devices have {string} MB free',
  function (this: RbeeWorld, ramAvailableMb: number, list: string) {
    const free = list.split(', ').map(Number);
    this.presentMachine({
      backends: [
        { name: 'cpu', devices: 1 },
        { name: 'cuda', devices: free.length },
      ],
      ram_total_mb: 16_000,
      ram_available_mb: ramAvailableMb,
      disk_total_mb: 500_000,
      disk_available_mb: 400_000,
      gpus: free.map((vram_free_mb, index) => ({
        backend: 'cuda',
        index,
        name: 'Test GPU',
        vram_total_mb: 16_000,
        vram_free_mb,
      })),
    });
  },
);

function modelPath(world: RbeeWorld, name: string): string {
  const folder = join(world.hiveHome, '.local/share/rbee/models');
  mkdirSync(folder, { recursive: true });
  return join(folder, name);
}
