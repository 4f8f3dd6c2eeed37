/** How a machine is reached over SSH. */
export interface SshAddress {
  /** Host name, address, or name of a host in ssh_config, as the user gave it. */
  readonly host: string;
  /** `undefined`: what ssh_config says, else 22. */
  readonly port: number | undefined;
  /** `undefined`: what ssh_config says, else the user that the queen runs as. */
  readonly user: string | undefined;
  /** Private key file; `undefined`: what ssh_config says, the agent, and the usual files. */
  readonly keyPath: string | undefined;
}
