/** Memory in GB, such as `12.3 of 31.2 GB`; undefined when the free part is not known. */
export function memoryText(freeMb: number | undefined, totalMb: number | undefined): string | undefined {
  if (freeMb === undefined) return undefined;
  const total = totalMb === undefined ? '' : `of ${gigabytes(totalMb)} `;
  return `${gigabytes(freeMb)} ${total}GB`;
}

function gigabytes(megabytes: number): string {
  return (megabytes / 1024).toFixed(1);
}
