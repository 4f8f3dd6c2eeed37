import { type ServicePlan, serviceCommand } from './service.js';

/** Longer than a hive takes to end its workers and itself. */
const STOP_SECONDS = 45;

/**
 * Unit for systemd's user manager. A port that another hive holds is tried again until it is free. Only the hive itself
 * gets SIGTERM: it ends its workers, in order. `systemctl --user reload` lets it read its configuration and key again.
 */
export function renderSystemdUnit(plan: ServicePlan): string {
  return `[Unit]
Description=rbee-hive, looks after the models and workers of this machine
StartLimitIntervalSec=0

[Service]
Type=simple
ExecStart=${renderCommand(serviceCommand(plan))}
ExecReload=/bin/kill -HUP $MAINPID
Environment=${quote(`RBEE_HIVE_TOKEN_FILE=${plan.tokenFile}`)}
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStopSec=${STOP_SECONDS}

[Install]
WantedBy=default.target
`;
}

/**
 * A program whose path has quotes or backslashes is refused by systemd, in every notation: the shell starts it then.
 */
function renderCommand([program = '', ...args]: readonly string[]): string {
  if (/[\\"']/.test(program)) return renderCommand(['/bin/sh', '-c', 'exec "$0" "$@"', program, ...args]);
  return [quote(program), ...args.map((arg) => quote(arg).replaceAll('$', '$$$$'))].join(' ');
}

/**
 * One word of a unit file (systemd.syntax(7), systemd.service(5)): a percent sign begins a specifier everywhere. A
 * dollar sign names a variable in arguments, but not in the program nor in an assignment.
 */
function quote(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replaceAll('%', '%%')}"`;
}
