import type { QueenClient } from './queen-client.js';
import { QueenConnection } from './queen-connection.js';
import type { QueenControl } from './queen-control.js';

/** Does work with a queen that runs already; `undefined` where none does. The queen is given back however the work ends. */
export async function withRunningQueen<T>(
  control: QueenControl,
  work: (queen: QueenClient, connection: QueenConnection) => Promise<T>,
): Promise<T | undefined> {
  const connection = new QueenConnection(control);
  try {
    const queen = await connection.openIfRunning();
    return queen && (await work(queen, connection));
  } finally {
    await connection.close();
  }
}
