import { type ServicePlan, serviceCommand } from './service.js';

export const LAUNCHD_LABEL = 'dev.rbee.hive';

/** Longer than a hive takes to end its workers and itself. */
const STOP_SECONDS = 45;

/**
 * Agent for launchd, started again unless it ends by itself. Without `Interactive` the system would hold back its
 * processors and its disk, and with them those of its workers.
 */
export function renderLaunchdAgent(plan: ServicePlan): string {
  const args = serviceCommand(plan).map((arg) => `    <string>${escapeXml(arg)}</string>`);
  const output = escapeXml(plan.outputFile);
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${LAUNCHD_LABEL}</string>
  <key>ProgramArguments</key>
  <array>
${args.join('\n')}
  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>RBEE_HIVE_TOKEN_FILE</key>
    <string>${escapeXml(plan.tokenFile)}</string>
  </dict>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Interactive</string>
  <key>ExitTimeOut</key>
  <integer>${STOP_SECONDS}</integer>
  <key>StandardOutPath</key>
  <string>${output}</string>
  <key>StandardErrorPath</key>
  <string>${output}</string>
</dict>
</plist>
`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
