/** The frame of a `token` event. Put together by hand: this happens for every token of every answer. */
export function toTokenFrame(text: string, index: number, ids: readonly number[]): string {
  const list = ids.length === 1 ? `${ids[0]}` : ids.join(',');
  return `event: token\ndata: {"type":"token","t":${JSON.stringify(text)},"i":${index},"ids":[${list}]}\n\n`;
}
