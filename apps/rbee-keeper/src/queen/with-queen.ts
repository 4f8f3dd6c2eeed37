import { QueenClient } from './queen-client.js';
import type { QueenControl } from './queen-control.js';
import { QueenSession } from './queen-session.js';

/** Does work with a queen that is found or started for it, and gives the queen back however the work ends. */
export async function withQueen<T>(control: QueenControl, work: (queen: QueenClient) => Promise<T>): Promise<T> {
  const session = await QueenSession.open(control);
  try {
    return await work(createQueenClient(control));
  } finally {
    await session.close();
  }
}

/** The client of the queen that a control found. */
export function createQueenClient(control: QueenControl): QueenClient {
  const { settings, signal } = control.surroundings;
  return new QueenClient({ target: control.target, timeoutMs: settings.call, signal });
}
