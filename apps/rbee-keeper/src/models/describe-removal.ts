import type { NodeRemoval } from '@rbee/protocol';
import { sizeText } from '../progress/size-text.js';

/** What the removal of a model has brought. */
export function describeRemoval({ model, node, freed_bytes, file_removed }: NodeRemoval): string {
  if (file_removed) return `removed ${model.model_ref} from ${node}: ${sizeText(freed_bytes)} freed`;
  return `${node} has forgotten ${model.model_ref}; its file lies outside the models folder and stays: ${model.local_path}`;
}
