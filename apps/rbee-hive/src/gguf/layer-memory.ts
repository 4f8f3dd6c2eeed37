import type { LayerFigures } from './layer-figures.js';

/** Layers that keep keys and values of the same size. Widths are elements per token. */
export interface AttentionGroup {
  layers: number;
  keyWidth: number;
  valueWidth: number;
  /** Tokens that such a layer looks back; null when it sees all of them. */
  window: number | null;
}

/** What these architectures keep per layer is a state of fixed size alone. */
const RECURRENT = new Set(['mamba', 'mamba2', 'rwkv6', 'rwkv6qwen2', 'rwkv7', 'arwkv7']);
/** Each layer has attention and a state. */
const BOTH = new Set(['falcon-h1']);
/** Every n-th layer of these has attention, the others a state; the file may give another n. */
const FULL_ATTENTION_INTERVAL: Readonly<Record<string, number>> = {
  qwen3next: 4,
  qwen35: 4,
  qwen35moe: 4,
};

/**
 * Architectures that make use of a sliding window: every n-th layer sees everything, the last of n or (negative) the first. Others
 * ignore the window that their files may name; treating an unknown one like them makes the figure too large.
 */
const WINDOW_PATTERNS: Readonly<Record<string, number>> = {
  afmoe: 4,
  cohere2: 4,
  cohere2moe: -4,
  'exaone-moe': 4,
  exaone4: 4,
  gemma2: 2,
  gemma3: 6,
  gemma3n: 5,
  gemma4: 6,
  'gpt-oss': 2,
  mellum: 4,
  olmo2: 4,
  plamo3: 8,
  smallthinker: -4,
};

/** Layers from here on use the keys and values of earlier ones. */
const GEMMA3N_OWN_LAYERS = 20;

/** The layers that keep keys and values, as llama.cpp decides it when it creates its memory. */
export function readAttentionGroups(figures: LayerFigures): AttentionGroup[] {
  const groups = new Map<string, AttentionGroup>();
  for (let layer = 0; layer < ownLayers(figures); layer++) {
    const group = attentionOf(figures, layer);
    if (group === null) continue;
    const key = `${group.keyWidth}/${group.valueWidth}/${group.window}`;
    const known = groups.get(key);
    if (known) known.layers++;
    else groups.set(key, group);
  }
  return [...groups.values()];
}

/** State of one sequence in all layers that have one, in elements. */
export function readRecurrentElements(figures: LayerFigures): number {
  const perLayer = stateOf(figures);
  if (perLayer === 0) return 0;
  let layers = 0;
  for (let layer = 0; layer < trunkLayers(figures); layer++) if (isRecurrent(figures, layer)) layers++;
  return layers * perLayer;
}

function attentionOf(figures: LayerFigures, layer: number): AttentionGroup | null {
  if (isRecurrent(figures, layer) && !BOTH.has(figures.architecture)) return null;
  const heads = figures.at('.attention.head_count', layer) ?? 0;
  const headsKv = figures.at('.attention.head_count_kv', layer) ?? heads;
  if (heads === 0 || headsKv === 0) return null;
  const window = windowOf(figures, layer);
  const usual = Math.floor((figures.embeddingLength ?? 0) / heads);
  const lengthOf = (name: string): number => {
    const own = window === null ? null : figures.at(`${name}_swa`, layer);
    return own ?? figures.at(name, layer) ?? usual;
  };
  // With latent attention the keys hold everything.
  const latent = figures.largest('.attention.key_length_mla') && figures.largest('.attention.value_length_mla');
  const valueWidth = latent ? 0 : headsKv * lengthOf('.attention.value_length');
  return { layers: 1, keyWidth: headsKv * lengthOf('.attention.key_length'), valueWidth, window };
}

function windowOf(figures: LayerFigures, layer: number): number | null {
  const { architecture } = figures;
  const size = figures.largest('.attention.sliding_window');
  const usual = WINDOW_PATTERNS[architecture];
  if (!size || usual === undefined) return null;
  const listed = figures.list('.attention.sliding_window_pattern');
  if (listed !== null) return listed[layer] ? size : null;
  const every = figures.largest('.attention.sliding_window_pattern') ?? Math.abs(usual);
  const slides = usual < 0 ? layer % every !== 0 : layer % every < every - 1;
  return slides ? size : null;
}

function isRecurrent(figures: LayerFigures, layer: number): boolean {
  const { architecture } = figures;
  if (RECURRENT.has(architecture) || BOTH.has(architecture)) return true;
  const interval = FULL_ATTENTION_INTERVAL[architecture];
  if (interval !== undefined) return (layer + 1) % (figures.largest('.full_attention_interval') ?? interval) !== 0;
  if (figures.at('.attention.head_count_kv', layer) !== 0) return false;
  // Without attention and with a feed-forward network, a layer of this family has no state either.
  return !architecture.startsWith('nemotron_h') || figures.at('.feed_forward_length', layer) === 0;
}

/** Elements of one layer's state: what the last tokens leave for the convolution, and the state itself. */
function stateOf(figures: LayerFigures): number {
  const embedding = figures.embeddingLength ?? 0;
  const headSize = figures.largest('.wkv.head_size');
  if (headSize) return embedding * ((figures.largest('.token_shift_count') ?? 2) + headSize);
  const cache = figures.largest('.shortconv.l_cache');
  if (cache) return embedding * (cache - 1);
  const inner = figures.largest('.ssm.inner_size') ?? 0;
  const state = figures.largest('.ssm.state_size') ?? 0;
  const groups = figures.largest('.ssm.group_count') ?? 0;
  const kept = Math.max(0, (figures.largest('.ssm.conv_kernel') ?? 1) - 1);
  return kept * (inner + 2 * groups * state) + state * inner;
}

/** Layers behind the trunk predict further tokens, and are not used. */
function trunkLayers(figures: LayerFigures): number {
  const layers = figures.layerCount ?? 0;
  const predicting = figures.largest('.nextn_predict_layers') ?? 0;
  return predicting < layers ? layers - predicting : layers;
}

function ownLayers(figures: LayerFigures): number {
  const layers = trunkLayers(figures);
  if (figures.architecture === 'gemma3n') return Math.min(layers, GEMMA3N_OWN_LAYERS);
  return Math.max(0, layers - (figures.largest('.attention.shared_kv_layers') ?? 0));
}
