/** Splits a command line as a shell would, with single and double quotes; nothing is expanded. */
export function splitCommandLine(line: string): string[] {
  return [...line.matchAll(/(?:[^\s"']+|"[^"]*"|'[^']*')+/g)].map(([word]) =>
    word.replace(
      /"([^"]*)"|'([^']*)'/g,
      (_match, double: string | undefined, single: string | undefined) => double ?? single ?? '',
    ),
  );
}
