/** What decides whether a native program built for one machine runs on another. */
export interface Platform {
  /** As Node.js names it: `linux`, `darwin`, … */
  readonly os: string;
  /** As Node.js names it: `x64`, `arm64`, … */
  readonly arch: string;
  /** C library; `undefined` outside Linux. */
  readonly libc: 'glibc' | 'musl' | undefined;
  /** `process.versions.modules` of the Node.js that rbee runs with: addons of one ABI do not load in another. */
  readonly abi: string;
}

/** The platform of this process. */
export function thisPlatform(): Platform {
  const { platform, arch, versions } = process;
  return { os: platform, arch, libc: platform === 'linux' ? findLibc() : undefined, abi: versions.modules };
}

function findLibc(): 'glibc' | 'musl' {
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
}

/** For example `linux-x64-glibc, Node.js ABI 115`. */
export function describePlatform({ os, arch, libc, abi }: Platform): string {
  return `${[os, arch, libc].filter(Boolean).join('-')}, Node.js ABI ${abi}`;
}

/**
 * How a node gets the native packages: `push`: the queen's own fit; `install`: the node takes them from the package
 * registry; `impossible`: neither works.
 */
export type NativePlan =
  | { readonly kind: 'push' }
  | { readonly kind: 'install'; readonly why: string }
  | { readonly kind: 'impossible'; readonly missing: string };

/** Decides how a node gets the native packages of a release that runs on the queen's platform. */
export function planNatives(queen: Platform, node: Platform): NativePlan {
  if (node.os !== 'linux' && node.os !== 'darwin') {
    return { kind: 'impossible', missing: `rbee runs on Linux and macOS, and this machine has ${node.os}` };
  }
  const sameMachine = queen.os === node.os && queen.arch === node.arch && queen.libc === node.libc;
  if (sameMachine && queen.abi === node.abi) return { kind: 'push' };
  if (enginePackage(node) === undefined) {
    const name = [node.os, node.arch, node.libc].filter(Boolean).join('-');
    return {
      kind: 'impossible',
      missing: sameMachine
        ? `there is no prebuilt engine for ${name}, and that of the queen needs Node.js of ABI ${queen.abi} (found: ${node.abi})`
        : `there is no prebuilt engine for ${name}, and that of the queen is for ${describePlatform(queen)}`,
    };
  }
  return { kind: 'install', why: `the queen's are for ${describePlatform(queen)}` };
}

/** Package with the engine that was built for a platform; `undefined` where none is published. */
export function enginePackage({ os, arch, libc }: Omit<Platform, 'abi'>): string | undefined {
  if (os === 'linux' && libc !== 'musl') {
    return arch === 'x64' || arch === 'arm64' ? `@node-llama-cpp/linux-${arch}` : undefined;
  }
  if (os !== 'darwin') return undefined;
  return arch === 'arm64' ? '@node-llama-cpp/mac-arm64-metal' : arch === 'x64' ? '@node-llama-cpp/mac-x64' : undefined;
}
