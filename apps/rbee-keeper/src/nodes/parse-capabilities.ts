/** The backends of a list such as `cuda,cpu`; an empty text names none. */
export function parseBackends(text: string): string[] {
  return text.trim() === '' ? [] : text.split(',').map((name) => name.trim());
}

/** The number of devices of each backend in a list such as `cuda=2,cpu=1`; `undefined` where it is no such list. */
export function parseDevices(text: string): Record<string, number> | undefined {
  const pairs = parseBackends(text).map((item) => /^([^=\s]+)\s*=\s*(\d{1,9})$/.exec(item));
  const devices = new Map<string, number>();
  for (const pair of pairs) {
    const [, backend = '', count] = pair ?? [];
    if (count === undefined || devices.has(backend)) return undefined;
    devices.set(backend, Number(count));
  }
  return Object.fromEntries(devices);
}
