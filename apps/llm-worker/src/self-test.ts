import { type Clock, formatDuration, silentLogger, withTimeout } from '@rbee/daemon-kit';

/** What `--self-test` prints. */
export interface SelfTestResult {
  readonly ok: boolean;
  /** The engine that was loaded, or what stood in its way. */
  readonly message: string;
}

const TIMEOUT_MS = 50_000;

/** Finds out whether the engine's own binary for the CPU runs on this machine; nothing is built or downloaded. */
export async function testEngine(clock: Clock): Promise<SelfTestResult> {
  const tooLong = () => new Error(`the engine was not loaded within ${formatDuration(TIMEOUT_MS)}`);
  try {
    return { ok: true, message: await withTimeout(clock, TIMEOUT_MS, loadEngine(), tooLong) };
  } catch (error) {
    const { message, cause } = error as Error;
    const why = cause instanceof Error ? `${message} (${cause.message})` : message;
    return { ok: false, message: why.replaceAll(/\s*\n\s*/g, ' ') };
  }
}

async function loadEngine(): Promise<string> {
  const [{ startBackend }, { EngineLogTap }, { getModuleVersion }] = await Promise.all([
    import('./engine/start-backend.js'),
    import('./engine/engine-log.js'),
    import('node-llama-cpp'),
  ]);
  const llama = await startBackend('cpu', new EngineLogTap(silentLogger));
  const { buildType } = llama;
  await llama.dispose();
  return `node-llama-cpp ${await getModuleVersion()} loads (${buildType})`;
}
