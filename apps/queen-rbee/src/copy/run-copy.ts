import { userInfo } from 'node:os';
import { type Clock, type Logger, readSecretFile } from '@rbee/daemon-kit';
import { createLink } from '../link/create-link.js';
import { DirectLink } from '../link/direct-link.js';
import type { Link } from '../link/link.js';
import { LOCAL_KEY_ADVICE } from '../link/local-hive-key.js';
import { sessionFactory } from '../link/session-factory.js';
import type { CopyEndpoint, CopyJob } from './copy-job.js';
import { sendModel } from './send-model.js';

export interface CopyEnvironment {
  readonly clock: Clock;
  readonly log: Logger;
  readonly home: string;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

/** Does a copy over connections of its own, so that no token waits behind it. Throws the coded error of whichever side failed. */
export async function runCopy(job: CopyJob, environment: CopyEnvironment, signal: AbortSignal): Promise<void> {
  const links: Link[] = [];
  const open = async (endpoint: CopyEndpoint) => {
    const link = openLink(endpoint, job, environment);
    links.push(link);
    await link.reach(() => undefined, signal);
    return { ...link.hive, node: endpoint.node };
  };
  try {
    const [source, target] = await Promise.all([open(job.source), open(job.target)]);
    await sendModel({ ...job, source, target, timeoutMs: job.timeouts.call, signal });
  } finally {
    await Promise.all(links.map((link) => link.close()));
  }
}

function openLink(endpoint: CopyEndpoint, job: CopyJob, environment: CopyEnvironment): Link {
  const { timeouts, mockHive } = job;
  const parts = { ...environment, timeouts };
  if (!('record' in endpoint)) {
    const { node, url, tokenFile } = endpoint;
    return new DirectLink({ ...parts, node, url, readKey: keyReader(tokenFile), keyAdvice: LOCAL_KEY_ADVICE });
  }
  const mock = mockHive && { url: mockHive.url, readKey: keyReader(mockHive.tokenFile) };
  return createLink(endpoint.record, {
    ...parts,
    createSession: sessionFactory({ ...parts, user: userInfo().username, simulated: mock !== undefined }),
    // It neither starts nor ends a hive.
    onOwned: () => undefined,
    binaryPath: undefined,
    mockHive: mock,
  });
}

function keyReader(file: string | undefined) {
  return () => (file === undefined ? undefined : readSecretFile(file));
}
