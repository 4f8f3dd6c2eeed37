/** Elements and bytes of one block of a tensor type; a row of a tensor is a whole number of blocks. */
interface BlockLayout {
  elements: number;
  bytes: number;
}

/** By ggml type id. A type that is missing here only loses the check of its last tensor's length. */
const BLOCK_LAYOUTS: ReadonlyMap<number, BlockLayout> = new Map([
  [0, { elements: 1, bytes: 4 }], // F32
  [1, { elements: 1, bytes: 2 }], // F16
  [2, { elements: 32, bytes: 18 }], // Q4_0
  [3, { elements: 32, bytes: 20 }], // Q4_1
  [6, { elements: 32, bytes: 22 }], // Q5_0
  [7, { elements: 32, bytes: 24 }], // Q5_1
  [8, { elements: 32, bytes: 34 }], // Q8_0
  [9, { elements: 32, bytes: 36 }], // Q8_1
  [10, { elements: 256, bytes: 84 }], // Q2_K
  [11, { elements: 256, bytes: 110 }], // Q3_K
  [12, { elements: 256, bytes: 144 }], // Q4_K
  [13, { elements: 256, bytes: 176 }], // Q5_K
  [14, { elements: 256, bytes: 210 }], // Q6_K
  [15, { elements: 256, bytes: 292 }], // Q8_K
  [16, { elements: 256, bytes: 66 }], // IQ2_XXS
  [17, { elements: 256, bytes: 74 }], // IQ2_XS
  [18, { elements: 256, bytes: 98 }], // IQ3_XXS
  [19, { elements: 256, bytes: 50 }], // IQ1_S
  [20, { elements: 32, bytes: 18 }], // IQ4_NL
  [21, { elements: 256, bytes: 110 }], // IQ3_S
  [22, { elements: 256, bytes: 82 }], // IQ2_S
  [23, { elements: 256, bytes: 136 }], // IQ4_XS
  [24, { elements: 1, bytes: 1 }], // I8
  [25, { elements: 1, bytes: 2 }], // I16
  [26, { elements: 1, bytes: 4 }], // I32
  [27, { elements: 1, bytes: 8 }], // I64
  [28, { elements: 1, bytes: 8 }], // F64
  [29, { elements: 256, bytes: 56 }], // IQ1_M
  [30, { elements: 1, bytes: 2 }], // BF16
  [34, { elements: 256, bytes: 54 }], // TQ1_0
  [35, { elements: 256, bytes: 66 }], // TQ2_0
  [39, { elements: 32, bytes: 17 }], // MXFP4
]);

/** Names of `general.file_type`; the K-quant names are those that model files carry. */
const FILE_TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [7, 'Q8_0'],
  [8, 'Q5_0'],
  [9, 'Q5_1'],
  [10, 'Q2_K'],
  [11, 'Q3_K_S'],
  [12, 'Q3_K_M'],
  [13, 'Q3_K_L'],
  [14, 'Q4_K_S'],
  [15, 'Q4_K_M'],
  [16, 'Q5_K_S'],
  [17, 'Q5_K_M'],
  [18, 'Q6_K'],
  [19, 'IQ2_XXS'],
  [20, 'IQ2_XS'],
  [21, 'Q2_K_S'],
  [22, 'IQ3_XS'],
  [23, 'IQ3_XXS'],
  [24, 'IQ1_S'],
  [25, 'IQ4_NL'],
  [26, 'IQ3_S'],
  [27, 'IQ3_M'],
  [28, 'IQ2_S'],
  [29, 'IQ2_M'],
  [30, 'IQ4_XS'],
  [31, 'IQ1_M'],
  [32, 'BF16'],
  [36, 'TQ1_0'],
  [37, 'TQ2_0'],
  [38, 'MXFP4_MOE'],
  [39, 'NVFP4'],
  [40, 'Q1_0'],
  [41, 'Q2_0'],
]);

/** Set on a file type that the converter guessed rather than knew. */
const GUESSED_FILE_TYPE = 1024;

/** Bytes that `elements` values of a tensor type take, or null when the type is not known. */
export function tensorBytes(type: number, elements: number): number | null {
  const layout = BLOCK_LAYOUTS.get(type);
  return layout === undefined ? null : Math.ceil(elements / layout.elements) * layout.bytes;
}

/** The quantization name of a `general.file_type` value, or null when it is not known. */
export function quantizationName(fileType: number): string | null {
  return FILE_TYPE_NAMES.get(fileType & ~GUESSED_FILE_TYPE) ?? null;
}
