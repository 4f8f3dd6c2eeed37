import { z } from 'zod';
import { checkTogether, optional, type Refuse, rejectWith } from './field.js';
import { gpuSchema } from './hive.js';
import { backendSchema, nodeNameSchema, portSchema } from './identifiers.js';
import { errorEventSchema } from './inference.js';
import { narrationSchema } from './narration.js';
import { findUnprintable, patternText, plainHttpOriginSchema } from './text.js';

/** Name of the machine that the queen itself runs on: a node without any set-up, which is never registered. */
export const LOCALHOST = 'localhost';

/** Where rbee is put on a node unless another folder is named; `~` is the home folder of the user there. */
export const DEFAULT_INSTALL_PATH = '~/rbee';

export const DEFAULT_HIVE_PORT = 9200;

/** A path that may hold anything that can be printed; it is only ever passed on as one quoted argument. */
function pathField(message: string, pattern: RegExp) {
  return z
    .string()
    .superRefine(
      rejectWith('INVALID_PATH', message, (text) =>
        text.length > 1024 ? 'too_long' : (findUnprintable(text) ?? (pattern.test(text) ? undefined : 'not_absolute')),
      ),
    );
}

/** Host name, address, or the name of a host in the user's ssh_config. */
const sshHostSchema = patternText(
  'must be a host name or an address',
  /^(?!-)[A-Za-z0-9_.-]+$|^[0-9A-Fa-f:]+(%[A-Za-z0-9]+)?$/,
  253,
);
const sshUserSchema = patternText('must be a user name', /^(?!-)[A-Za-z0-9_.@-]+\$?$/, 64);
const sshPortSchema = z.number().int().min(1).max(65535);
const queenPathSchema = pathField('must be an absolute path on the machine of the queen', /^\//);
const remotePathSchema = pathField('must be an absolute path on the node, or begin with ~/', /^(\/|~\/|~$)/);
const gitUrlSchema = z.string().superRefine(
  rejectWith(
    'INVALID_REQUEST',
    'must be a git address: https://, ssh://, git://, file://, user@host:path or a path',
    (text) => {
      if (text.length > 1024) return 'too_long';
      const unprintable = findUnprintable(text);
      if (unprintable) return unprintable;
      // `ext::` and its like run commands; a leading dash would be an option.
      if (/\s/.test(text) || text.includes('::')) return 'special_characters';
      return /^((https?|ssh|git|file):\/\/[^-]|[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9_.][A-Za-z0-9_.-]*:[^-]|\/)/.test(
        text,
      )
        ? undefined
        : 'special_characters';
    },
  ),
);
/** What git accepts as the name of a branch (git-check-ref-format), without the rarer characters. */
const gitBranchSchema = patternText(
  'must be the name of a branch',
  /^(?![-/.])(?!.*(\.\.|\/\/|@\{|\/\.|\.lock(\/|$)))[\w./+@-]+(?<![/.])$/,
  200,
);

/** Fingerprint of a host key as `ssh-keygen -l` prints it. */
const fingerprintSchema = patternText('must be a fingerprint such as SHA256:…', /^SHA256:[A-Za-z0-9+/]{43}$/, 50);

/** A list or an object that may also come as JSON text, as the command line sends it. */
function orJson<T extends z.ZodType>(schema: T) {
  return z.preprocess((value) => {
    if (typeof value !== 'string') return value;
    try {
      return JSON.parse(value) as unknown;
    } catch {
      // The schema refuses the text as what it is.
      return value;
    }
  }, schema);
}

const backendsSchema = z.array(backendSchema).max(8);
const devicesSchema = z.partialRecord(backendSchema, z.number().int().min(0).max(1024));

const nodeFields = {
  ssh_host: optional(sshHostSchema),
  /** Left out: what ssh_config says, else 22. */
  ssh_port: optional(sshPortSchema),
  /** Left out: what ssh_config says, else the user that the queen runs as. */
  ssh_user: optional(sshUserSchema),
  /** Private key on the machine of the queen; left out: what ssh_config says, the agent, and the usual files. */
  ssh_key_path: optional(queenPathSchema),
  /** Host key that the node must show, where it was learned beforehand. */
  host_key_fingerprint: optional(fingerprintSchema),
  /** Given: rbee is cloned from there and built on the node. Left out: the queen sends its own release. */
  git_repo_url: optional(gitUrlSchema),
  git_branch: optional(gitBranchSchema),
  install_path: optional(remotePathSchema),
  /** Node.js program on the node; left out: it is looked for. */
  node_path: optional(remotePathSchema),
  hive_port: optional(portSchema),
  /** Address of a hive that is reached without SSH. */
  hive_url: optional(plainHttpOriginSchema),
  /** File with that hive's key, on the machine of the queen. */
  hive_token_file: optional(queenPathSchema),
  backends: optional(orJson(backendsSchema)),
  devices: optional(orJson(devicesSchema)),
};

/** What only a node has that is reached over SSH. */
export const SSH_FIELDS = [
  'ssh_port',
  'ssh_user',
  'ssh_key_path',
  'host_key_fingerprint',
  'git_repo_url',
  'git_branch',
  'install_path',
  'node_path',
  'hive_port',
] as const;

function refuseBothWays(body: Readonly<Record<string, unknown>>, refuse: Refuse): void {
  if (body.ssh_host != null && body.hive_url != null) {
    refuse('hive_url', 'a node is reached over SSH (ssh_host) or at its hive (hive_url), not both');
  }
  if (body.node_name === LOCALHOST) refuse('node_name', 'localhost is always there and needs no set-up');
}

/** Body of `POST /v2/registry/beehives/add`. */
export const addNodeSchema = checkTogether(z.object({ node_name: nodeNameSchema, ...nodeFields }), (body, refuse) => {
  refuseBothWays(body, refuse);
  if (body.ssh_host == null && body.hive_url == null) {
    refuse('ssh_host', 'is required: the host name of the node, or hive_url for a hive that is reached without SSH');
  }
  if (body.hive_url != null && body.hive_token_file == null) {
    refuse('hive_token_file', 'is required with hive_url: a hive on the network has a key');
  }
  if (body.ssh_host != null && body.hive_url == null && body.hive_token_file != null) {
    refuse('hive_token_file', 'belongs to hive_url: a node that is reached over SSH has a key of its own');
  }
  if (body.hive_url != null && body.ssh_host == null) {
    for (const field of SSH_FIELDS) {
      if (body[field] != null) refuse(field, 'does not apply to a hive that is reached at hive_url, without SSH');
    }
  }
});
export type AddNode = z.output<typeof addNodeSchema>;
export type AddNodeInput = z.input<typeof addNodeSchema>;

/** Body of `POST /v2/registry/beehives/update`: what is left out stays as it is. */
export const updateNodeSchema = checkTogether(z.object({ node_name: nodeNameSchema, ...nodeFields }), refuseBothWays);
export type UpdateNode = z.output<typeof updateNodeSchema>;
export type UpdateNodeInput = z.input<typeof updateNodeSchema>;

/** `unknown` until the first contact; then whether the node could be reached when it was last tried. */
export const NODE_STATUSES = ['unknown', 'reachable', 'unreachable'] as const;
export type NodeStatus = (typeof NODE_STATUSES)[number];
const nodeStatusSchema = z.enum(NODE_STATUSES);

export const LINK_KINDS = ['local', 'ssh', 'direct'] as const;
export type LinkKind = (typeof LINK_KINDS)[number];

/** The hive of one node as the queen sees it now. */
export const hiveStatusSchema = z.object({
  node: z.string(),
  link: z.enum(LINK_KINDS),
  /** Whether the machine can be reached. */
  status: nodeStatusSchema,
  /** Whether its hive runs; `unknown` while the machine cannot be asked. */
  hive: z.enum(['running', 'stopped', 'unknown']),
  /** Why it is not reachable or not running, where that is known. */
  reason: optional(z.string()),
  version: optional(z.string()),
  pid: optional(z.number().int()),
  /** Whether this queen started the hive, and so ends it with itself. */
  owned: z.boolean(),
  /** The node's own view. */
  url: z.string(),
  workers: z.number().int(),
  models: z.number().int(),
  ram_total_mb: optional(z.number()),
  ram_available_mb: optional(z.number()),
  gpus: z.array(gpuSchema),
  /** What the hive wants its user to know. */
  warnings: optional(z.array(z.string())),
});
export type HiveStatus = z.output<typeof hiveStatusSchema>;

/** One node as it is registered, with what is known of its hive. */
export const nodeRowSchema = z.object({
  node_name: z.string(),
  link: z.enum(LINK_KINDS),
  ssh_host: optional(z.string()),
  ssh_port: optional(z.number().int()),
  ssh_user: optional(z.string()),
  ssh_key_path: optional(z.string()),
  host_key_fingerprint: optional(z.string()),
  git_repo_url: optional(z.string()),
  git_branch: optional(z.string()),
  install_path: optional(z.string()),
  node_path: optional(z.string()),
  hive_port: z.number().int(),
  hive_url: optional(z.string()),
  hive_token_file: optional(z.string()),
  last_connected_unix: optional(z.number().int()),
  last_error: optional(z.string()),
  status: nodeStatusSchema,
  backends: backendsSchema,
  devices: devicesSchema,
  live: optional(hiveStatusSchema),
});
export type NodeRow = z.output<typeof nodeRowSchema>;

/** Answer to the addition, change or removal of a node. */
export const nodeAnswerSchema = z.object({
  success: z.literal(true),
  message: z.string(),
  node_name: z.string(),
  /** The host key that is pinned from now on. */
  host_key_fingerprint: optional(z.string()),
});
export type NodeAnswer = z.output<typeof nodeAnswerSchema>;

/** What a change of the registry tells while it runs. */
export const nodeEventSchema = z.discriminatedUnion('type', [
  narrationSchema,
  nodeAnswerSchema.extend({ type: z.literal('end') }),
  errorEventSchema,
]);
export type NodeEvent = z.output<typeof nodeEventSchema>;

/** Body of `POST /v2/registry/beehives/install`. */
export const installRequestSchema = z.object({
  node_name: nodeNameSchema,
  /** Also let the node's service manager start the hive with the machine. */
  service: optional(z.boolean()),
});

/** What an installation tells while it runs. */
export const installEventSchema = z.discriminatedUnion('type', [
  narrationSchema,
  z.object({
    type: z.literal('progress'),
    phase: z.literal('upload'),
    bytes_done: z.number().int(),
    bytes_total: z.number().int(),
    bytes_per_second: optional(z.number()),
  }),
  z.object({
    type: z.literal('end'),
    node_name: z.string(),
    duration_ms: z.number(),
    /** Name of the release that the node uses from now on. */
    release: z.string(),
    /** Whether that release was there already. */
    unchanged: z.boolean(),
  }),
  errorEventSchema,
]);
export type InstallEvent = z.output<typeof installEventSchema>;

/** Body of the routes that start and stop a node's hive. */
export const hiveCommandSchema = z.object({ node: nodeNameSchema });

/** What the start or the end of a hive tells while it runs. */
export const hiveCommandEventSchema = z.discriminatedUnion('type', [
  narrationSchema,
  z.object({ type: z.literal('end'), node: z.string(), message: z.string() }),
  errorEventSchema,
]);
export type HiveCommandEvent = z.output<typeof hiveCommandEventSchema>;
