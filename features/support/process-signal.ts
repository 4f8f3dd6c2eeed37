/** Sends a signal to a process; one that has ended already is left in peace. Returns whether it was there. */
export function signalIfThere(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
