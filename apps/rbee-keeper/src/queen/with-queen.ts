import { QueenClient } from './queen-client.js';
import type { QueenControl } from './queen-control.js';
import { QueenSession } from './queen-session.js';

/** Work with a queen; told whether this queen ends with the last of those who use it. */
export type QueenWork<T> = (queen: QueenClient, isEphemeral: boolean) => Promise<T>;

/** Does work with a queen that is found or started for it, and gives the queen back however the work ends. */
export async function withQueen<T>(control: QueenControl, work: QueenWork<T>): Promise<T> {
  const session = await QueenSession.open(control);
  try {
    return await work(createQueenClient(control), session.isEphemeral);
  } finally {
    await session.close();
  }
}

/** The client of the queen that a control found. */
export function createQueenClient(control: QueenControl): QueenClient {
  const { settings, signal } = control.surroundings;
  return new QueenClient({ target: control.target, timeoutMs: settings.call, signal });
}
