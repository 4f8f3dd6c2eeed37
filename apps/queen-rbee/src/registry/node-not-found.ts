import { RbeeError } from '@rbee/protocol';

/** The error for a node that is not known, with the command that adds it. */
export function nodeNotFound(name: string, nodes: readonly { readonly name: string }[]): RbeeError {
  return new RbeeError(
    'NODE_NOT_FOUND',
    `there is no node ${name}; known: ${nodes.map((node) => node.name).join(', ')}`,
    {
      details: { node: name, known: nodes.map((node) => node.name) },
      suggestion: `add it: rbee-keeper setup add-node --name ${name} --ssh-host HOST --ssh-user USER`,
    },
  );
}
