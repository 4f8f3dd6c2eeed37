import { tokenEventSchema } from '@rbee/protocol';

/** A token event as workers write it: type, text, index, ids. */
const USUAL_TOKEN =
  /^\{"type":"token","t":"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*","i":(\d+)(?:,"ids":\[\d+(?:,\d+)*\])?\}$/u;
/** No token of a model is nearly as long; matching needs memory for each character. */
const MAX_USUAL_LENGTH = 4096;

const OPEN_BRACE = 123;
const CLOSE_BRACE = 125;

/** Whether some data can be an object at all; what is not was never a token, and says nothing about those around it. */
export function mayBeToken(data: string): boolean {
  return data.charCodeAt(0) === OPEN_BRACE && data.charCodeAt(data.length - 1) === CLOSE_BRACE;
}

/**
 * The index of a token event; `undefined` when it is none that a client could read. What is written in the usual form is not
 * parsed, because this happens for every token of every answer.
 */
export function readTokenIndex(data: string): number | undefined {
  const usual = data.length <= MAX_USUAL_LENGTH ? USUAL_TOKEN.exec(data) : undefined;
  if (usual) return Number(usual[1]);
  try {
    return tokenEventSchema.safeParse(JSON.parse(data)).data?.i;
  } catch {
    // Said by the return value.
    return undefined;
  }
}
