const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** A size such as `668.8 MB` or `4.07 GB`. */
export function sizeText(bytes: number): string {
  const { unit, divisor, digits } = scaleOf(bytes);
  return `${(bytes / divisor).toFixed(digits)} ${unit}`;
}

/** A part of a whole in the unit of the whole, such as `2.0 of 5.0 MB`. */
export function partText(done: number, total: number): string {
  const { unit, divisor, digits } = scaleOf(total);
  return `${(done / divisor).toFixed(digits)} of ${(total / divisor).toFixed(digits)} ${unit}`;
}

function scaleOf(bytes: number): { unit: string; divisor: number; digits: number } {
  return bytes < GIB ? { unit: 'MB', divisor: MIB, digits: 1 } : { unit: 'GB', divisor: GIB, digits: 2 };
}
