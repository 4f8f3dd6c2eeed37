/** What the system is to start. */
export interface ServicePlan {
  /** Node.js program, absolute. */
  readonly node: string;
  /** Launcher of the hive, absolute. */
  readonly launcher: string;
  /** Port of the hive; without one it is as configured. */
  readonly port: number | undefined;
  /** File with the key that the hive demands. */
  readonly tokenFile: string;
  /** Takes what the hive writes to its terminal, where the system has no place of its own for that. */
  readonly outputFile: string;
}

/** The system's way to run a program for a user from the start of the machine on. */
export interface ServiceManager {
  /**
   * Puts the service in place and starts it; resolves with the file that describes it. Throws INSTALL_FAILED and
   * leaves nothing.
   */
  install(plan: ServicePlan): Promise<string>;
  /** Ends the service and removes it; false when there was none. */
  remove(): Promise<boolean>;
}

/** Command line of the service. */
export function serviceCommand({ node, launcher, port }: ServicePlan): string[] {
  return [node, launcher, 'daemon', ...(port === undefined ? [] : ['--port', String(port)])];
}
