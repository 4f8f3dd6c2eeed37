/** A longer text is not searched: it would block the process for too long. */
const MAX_SEARCHED_CHARS = 1024 * 1024;

/**
 * Index of the first character at which a text stops being JSON; its length when it only ends too early, `undefined`
 * when it is JSON or too long to be searched. The engine's own message often lacks the position and quotes the text.
 */
export function findJsonFault(text: string): number | undefined {
  if (text.length > MAX_SEARCHED_CHARS || isJson(text)) return undefined;
  // Every beginning of a text that could still become JSON could too: the fault is found by bisection.
  let sound = 0;
  let doubtful = text.length;
  while (sound < doubtful) {
    const middle = Math.ceil((sound + doubtful) / 2);
    if (couldContinue(text.slice(0, middle))) sound = middle;
    else doubtful = middle - 1;
  }
  return sound;
}

function isJson(text: string): boolean {
  return describeFault(text) === undefined;
}

function couldContinue(beginning: string): boolean {
  const fault = describeFault(beginning);
  if (fault === undefined) return true;
  const position = /at position (\d+)/.exec(fault)?.[1];
  return position === undefined ? /end of JSON input/.test(fault) : Number(position) >= beginning.length;
}

function describeFault(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
