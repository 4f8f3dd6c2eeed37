import { type Narration, narrationSchema } from '@rbee/protocol';

/** The narration in a line of a worker's output; undefined for everything else it writes. */
export function readNarration(line: string): Narration | undefined {
  if (!line.startsWith('{') || !line.includes('"narration"')) return undefined;
  try {
    const narration = narrationSchema.safeParse(JSON.parse(line)).data;
    // What belongs to a job goes to its client inside the inference stream already.
    return narration?.job_id === undefined ? narration : undefined;
  } catch {
    return undefined;
  }
}
