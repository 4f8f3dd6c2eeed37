import type { ErrorCode, RbeeError } from '@rbee/protocol';

/** The part of rbee that an error speaks for; the queen for all codes that are not listed. */
export function componentOf({
  code,
  correlationId,
  details,
}: Pick<RbeeError, 'code' | 'correlationId' | 'details'>): string {
  // Connections are lost between queen and worker, and between keeper and queen.
  if (code === 'WORKER_CONNECTION_LOST' && details.service === 'queen-rbee') return 'queen-rbee';
  // The disk of this machine is full for the keeper, unless the error came from elsewhere.
  if (code === 'DISK_FULL' && correlationId !== undefined) return 'model-provisioner';
  if (KEEPER.has(code)) return 'rbee-keeper';
  if (PROVISIONER.has(code)) return 'model-provisioner';
  if (HIVE.has(code)) return 'rbee-hive';
  if (WORKER.has(code)) return 'llm-worker-rbee';
  return 'queen-rbee';
}

const KEEPER = new Set<ErrorCode>([
  'INVALID_REQUEST',
  'INVALID_MODEL_REF',
  'INVALID_BACKEND',
  'INVALID_NODE_NAME',
  'INVALID_WORKER_ID',
  'INVALID_PATH',
  'SSH_KEY_NOT_FOUND',
  'VERSION_MISMATCH',
  'CANCELLED',
  'INTERNAL_ERROR',
  'QUEEN_UNREACHABLE',
  'QUEEN_START_FAILED',
  'CONFIG_INVALID',
  'DISK_FULL',
]);

const PROVISIONER = new Set<ErrorCode>([
  'MODEL_NOT_FOUND',
  'MODEL_ACCESS_DENIED',
  'UNSUPPORTED_MODEL_FORMAT',
  'DOWNLOAD_FAILED',
  'DOWNLOAD_TIMEOUT',
  'CHECKSUM_MISMATCH',
  'INSUFFICIENT_DISK',
  'CATALOG_UNAVAILABLE',
]);

const HIVE = new Set<ErrorCode>([
  'INVALID_DEVICE',
  'WORKER_BINARY_NOT_FOUND',
  'NO_FREE_PORT',
  'INSUFFICIENT_RAM',
  'VRAM_EXHAUSTED',
  'VRAM_FRAGMENTED',
  'GPU_TOO_HOT',
  'BACKEND_UNAVAILABLE',
  'GPU_NOT_AVAILABLE',
  'WORKER_SPAWN_FAILED',
  'WORKER_STARTUP_FAILED',
  'LOADING_TIMEOUT',
]);

const WORKER = new Set<ErrorCode>([
  'CONTEXT_LENGTH_EXCEEDED',
  'OUT_OF_MEMORY',
  'CUDA_DEVICE_FAILED',
  'MODEL_LOAD_FAILED',
  'INFERENCE_FAILED',
  'WORKER_CRASHED',
  'WORKER_CONNECTION_LOST',
  'INFERENCE_TIMEOUT',
]);

const MODEL_EXAMPLE = 'hf:ORG/REPO, ~/.local/share/rbee/models/my-model.gguf, or builtin:honeycomb';
const GOES_ON = 'repeat the command: the download goes on where it stopped';
const SMALLER = 'close other programs, or use a smaller quantization of the model';
const HIVE_LOG = 'look at the logs: rbee-keeper logs';

type Details = Readonly<Record<string, unknown>>;

/** A name of the error's facts, or what stands for it in a command. */
function nameIn(details: Details, key: string, placeholder: string): string {
  const value = details[key];
  return typeof value === 'string' && value !== '' ? value : placeholder;
}

const nodeOf = (details: Details) => nameIn(details, 'node', 'NODE');

/** The flag for the node that an error names, where it names one. */
const nodeFlag = (details: Details) => (typeof details.node === 'string' ? ` --node ${details.node}` : '');

/** Repository of the hub that an error is about, without a variant. */
function repositoryOf(details: Details): string {
  const [repository] = /^hf:[^:]+/.exec(nameIn(details, 'model_ref', nameIn(details, 'model', ''))) ?? [];
  return repository ?? 'hf:ORG/REPO';
}

function adviseOnMissingModel(details: Details): string {
  if (Array.isArray(details.variants)) {
    return `name one of the variants; see their sizes: rbee-keeper models variants ${repositoryOf(details)}`;
  }
  if (repositoryOf(details) === 'hf:ORG/REPO') {
    return 'check the spelling of the model and the path on the node; see what is there: rbee-keeper models list';
  }
  return `check the spelling on the hub; see what it has to choose from: rbee-keeper models variants ${repositoryOf(details)}`;
}

function adviseOnSpace(details: Details): string {
  const flag = nodeFlag(details);
  return `see what can go: rbee-keeper models list${flag}\n` + `and free its place: rbee-keeper models rm MODEL${flag}`;
}

/** Whether a key was refused by the queen itself, to which the keeper shows it, and not by a service behind the queen. */
export function isOwnRefusal({ node, service }: Details): boolean {
  return node === undefined && (service === undefined || service === 'queen-rbee');
}

const adviseOnKey = (own: string) => (details: Details) =>
  isOwnRefusal(details) ? own : `see which keys are used there: rbee-keeper logs --node ${nodeOf(details)}`;

/** What to do about errors that came without a suggestion of their own. */
const ADVICE: Partial<Record<ErrorCode, string | ((details: Details) => string)>> = {
  INVALID_MODEL_REF: `for example ${MODEL_EXAMPLE}`,
  INVALID_BACKEND: 'for example --backend cpu, or --backend cuda --device 0',
  INVALID_DEVICE: 'devices are counted from 0, for example --backend cuda --device 0',
  INVALID_NODE_NAME: 'see the names of all nodes: rbee-keeper hive status',
  INVALID_WORKER_ID: 'list the ids: rbee-keeper workers list',
  WORKER_NOT_FOUND: 'list the workers: rbee-keeper workers list',
  NODE_NOT_FOUND: (details) =>
    `register it: rbee-keeper setup add-node --name ${nodeOf(details)} --ssh-host HOST\n` +
    'or see which nodes there are: rbee-keeper hive status',
  NODE_ALREADY_EXISTS: (details) =>
    `change it: rbee-keeper setup update-node --name ${nodeOf(details)}\n` +
    `or forget it first: rbee-keeper setup remove-node --name ${nodeOf(details)}`,
  NO_NODE_FITS: 'see what each node has: rbee-keeper hive status',
  REGISTRY_ERROR: 'look at the log of the queen, and check that its folder ~/.rbee can be written',
  SSH_KEY_NOT_FOUND: 'check the path given with --ssh-key',
  SSH_CONNECTION_TIMEOUT: (details) =>
    `check that the machine is on and its SSH server runs: ping ${nameIn(details, 'host', 'HOST')}`,
  SSH_AUTH_FAILED:
    'check that the key is allowed there (~/.ssh/authorized_keys), that only you may read it (chmod 600 KEY), and what the agent has (ssh-add -l)',
  SSH_HOST_KEY_CHANGED: (details) =>
    'find out why the machine shows another key: somebody may stand in between\n' +
    `if it was set up anew, accept its key: rbee-keeper setup update-node --name ${nodeOf(details)} --host-key SHA256:…`,
  SSH_FORWARDING_DENIED: 'set AllowTcpForwarding yes in /etc/ssh/sshd_config of the node, and reload its sshd',
  SSH_COMMAND_FAILED: (details) => `try it by hand: ssh ${nameIn(details, 'host', 'HOST')}`,
  HIVE_NOT_INSTALLED: (details) => `install rbee there: rbee-keeper setup install --node ${nodeOf(details)}`,
  INSTALL_FAILED: (details) =>
    `mend what the message tells, and repeat: rbee-keeper setup install --node ${nodeOf(details)}`,
  VERSION_MISMATCH: 'upgrade the older side; a node is upgraded by rbee-keeper setup install --node NODE',
  MODEL_NOT_FOUND: adviseOnMissingModel,
  MODEL_ACCESS_DENIED: (details) =>
    `accept the licence on the page of the model on the hub (${repositoryOf(details).slice('hf:'.length)}), and set HF_TOKEN for the hive of the node that downloads`,
  DOWNLOAD_FAILED: GOES_ON,
  DOWNLOAD_TIMEOUT: GOES_ON,
  CHECKSUM_MISMATCH: 'repeat the command; if it happens again, the file on the hub, or a proxy on the way, is broken',
  INSUFFICIENT_DISK: adviseOnSpace,
  DISK_FULL: adviseOnSpace,
  CATALOG_UNAVAILABLE: 'wait a little and try again; the log tells why the catalog cannot be opened: rbee-keeper logs',
  UNSUPPORTED_MODEL_FORMAT: 'rbee runs GGUF files: check that the file is one and is complete',
  PAYLOAD_TOO_LARGE: 'shorten the prompt, or allow more: limits.body_bytes in the configuration',
  CONTEXT_LENGTH_EXCEEDED: 'shorten the prompt, lower --max-tokens, or use a model with a longer context',
  MISSING_API_KEY: adviseOnKey('name the key file as auth.api_token_file in the configuration'),
  INVALID_API_KEY: adviseOnKey('check the key file named as auth.api_token_file in the configuration'),
  INSUFFICIENT_RAM: SMALLER,
  VRAM_EXHAUSTED: `${SMALLER}, or run it on the processor: --backend cpu`,
  OUT_OF_MEMORY: SMALLER,
  BACKEND_UNAVAILABLE: 'choose a backend that the node has, for example --backend cpu',
  GPU_NOT_AVAILABLE: 'install the driver, or run on the processor: --backend cpu',
  ALL_SLOTS_BUSY: 'wait a little and try again, use another node, or start another worker',
  QUEUE_FULL: 'see what is in front: rbee-keeper tasks list',
  DEADLINE_UNREACHABLE: 'allow more time, for example --timeout 10m\nor see what is in front: rbee-keeper tasks list',
  MODEL_LOAD_FAILED: HIVE_LOG,
  WORKER_SPAWN_FAILED: HIVE_LOG,
  WORKER_STARTUP_FAILED: HIVE_LOG,
  LOADING_TIMEOUT: HIVE_LOG,
  INFERENCE_FAILED: HIVE_LOG,
  HIVE_START_FAILED: 'look at the log of the hive on its node: ~/.rbee/logs/rbee-hive.out.log',
  WORKER_CRASHED: 'repeat the command; if it happens again, look at the logs: rbee-keeper logs',
  WORKER_CONNECTION_LOST: (details) =>
    details.service === 'queen-rbee' && typeof details.job_id === 'string'
      ? 'see whether it runs: rbee-keeper queen status\n' +
        `and, when it does, what became of the task: rbee-keeper tasks show --id ${details.job_id}`
      : 'check the network and repeat the command',
  INFERENCE_TIMEOUT: 'repeat the command; if it happens again, look at the logs: rbee-keeper logs',
  REQUEST_TIMEOUT: 'allow more time, for example --timeout 10m',
  CONNECTION_TIMEOUT: 'check that the service named above runs',
  QUEEN_UNREACHABLE: 'start one: rbee-keeper queen start',
};

/** The advice for an error, if there is any. */
export function adviceFor({ code, details }: RbeeError): string | undefined {
  const advice = ADVICE[code];
  return typeof advice === 'function' ? advice(details) : advice;
}
