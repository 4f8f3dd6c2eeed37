import { describe, expect, it } from '@jest/globals';
import { enginePackage, type NativePlan, type Platform, planNatives, thisPlatform } from './platform.js';

function platform(text: string): Platform {
  const [os = '', arch = '', libc = '', abi = ''] = text.split(' ');
  return { os, arch, libc: libc === '-' ? undefined : (libc as 'glibc' | 'musl'), abi };
}

describe('planNatives', () => {
  it.each<[queen: string, node: string, kind: NativePlan['kind']]>([
    ['linux x64 glibc 115', 'linux x64 glibc 115', 'push'],
    ['linux x64 glibc 115', 'linux x64 glibc 137', 'install'],
    ['linux x64 glibc 115', 'linux arm64 glibc 115', 'install'],
    ['linux x64 glibc 115', 'linux x64 musl 115', 'impossible'],
    ['linux x64 glibc 115', 'linux arm64 musl 115', 'impossible'],
    ['linux x64 glibc 115', 'darwin arm64 - 115', 'install'],
    ['linux x64 glibc 115', 'darwin x64 - 137', 'install'],
    ['linux x64 glibc 115', 'linux arm glibc 115', 'impossible'],
    ['linux x64 glibc 115', 'linux riscv64 glibc 115', 'impossible'],
    ['linux x64 glibc 115', 'freebsd x64 - 115', 'impossible'],
    ['linux arm64 glibc 115', 'linux arm64 glibc 115', 'push'],
    ['linux arm64 glibc 115', 'linux x64 glibc 115', 'install'],
    ['linux x64 musl 115', 'linux x64 musl 115', 'push'],
    ['linux x64 musl 115', 'linux x64 musl 137', 'impossible'],
    ['linux x64 musl 115', 'linux x64 glibc 115', 'install'],
    ['darwin arm64 - 115', 'darwin arm64 - 115', 'push'],
    ['darwin arm64 - 115', 'darwin arm64 - 137', 'install'],
    ['darwin arm64 - 115', 'darwin x64 - 115', 'install'],
    ['darwin arm64 - 115', 'linux x64 glibc 115', 'install'],
  ])('queen %s, node %s: %s', (queen, node, kind) => {
    expect(planNatives(platform(queen), platform(node)).kind).toBe(kind);
  });

  it('says what is missing', () => {
    const queen = platform('linux x64 glibc 115');
    expect(planNatives(queen, platform('linux x64 musl 115'))).toEqual({
      kind: 'impossible',
      missing:
        'there is no prebuilt engine for linux-x64-musl, and that of the queen is for linux-x64-glibc, Node.js ABI 115',
    });
    expect(planNatives(queen, platform('sunos x64 - 115'))).toMatchObject({
      missing: 'rbee runs on Linux and macOS, and this machine has sunos',
    });
    expect(planNatives(platform('linux x64 musl 115'), platform('linux x64 musl 137'))).toMatchObject({
      missing: expect.stringContaining('needs Node.js of ABI 115 (found: 137)') as unknown,
    });
  });
});

it('knows this machine, and the engine that is installed on it', () => {
  const here = thisPlatform();
  expect(here).toMatchObject({ os: process.platform, arch: process.arch, abi: process.versions.modules });
  expect(planNatives(here, here)).toEqual({ kind: 'push' });
  expect(enginePackage(platform('darwin arm64 - 115'))).toBe('@node-llama-cpp/mac-arm64-metal');
});
