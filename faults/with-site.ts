import { rmSync } from 'node:fs';
import type { Figures } from './figures.js';
import { startHub } from './model.js';
import { Site } from './site.js';

export interface WithSite {
  readonly site: Site;
  readonly facts: Record<string, string | number>;
  readonly problems: string[];
}

/** Runs something on a site of its own with a queen and a node, and counts what is left behind as a problem. */
export async function withSite(
  name: string,
  {
    queenNodeArgs,
    ...options
  }: { slots: number; variables?: Record<string, string>; queenNodeArgs?: readonly string[] },
  work: (about: WithSite) => Promise<void>,
): Promise<Figures> {
  const { hub, folder } = await startHub();
  const facts: Record<string, string | number> = {};
  const problems: string[] = [];
  const began = performance.now();
  const site = await Site.open({ way: 'ssh', hubEndpoint: hub.endpoint, ...options });
  try {
    await site.startQueen({ nodeArgs: queenNodeArgs });
    await site.addNode();
    await work({ site, facts, problems });
  } catch (error) {
    problems.push((error as Error).message);
  }
  problems.push(...(await site.close()).map((left) => `left behind: ${left}`));
  facts.seconds = ((performance.now() - began) / 1000).toFixed(1);
  site.remove();
  await hub.close();
  rmSync(folder, { recursive: true, force: true });
  return { name, ok: problems.length === 0, facts, problems };
}
