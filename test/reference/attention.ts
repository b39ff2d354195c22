// Causal grouped-query attention within documents, from rows that hold q, k and v together.
//
//   qkv           [tokens, rowSize]   columns by the layout's functions
//   segmentStart  [tokens]            token i sees j in [segmentStart[i], i] with i − j < window
//   o             [tokens, heads · headSize]
//   lse           [tokens, heads]     log of the softmax's sum, natural, of the scaled scores
//
// Query head h uses key head floor(h · kvHeads / heads).

export interface AttentionLayout {
  tokens: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  rowSize: number;
  qColumn: (head: number) => number;
  kColumn: (kvHead: number) => number;
  vColumn: (kvHead: number) => number;
  /** How many tokens one sees, itself included; all of its document, if not given. */
  window?: number;
  /** What q · k is multiplied by; 1 / sqrt(headSize), if not given. */
  scale?: number;
}

export function attention(
  qkv: ArrayLike<number>,
  segmentStart: ArrayLike<number>,
  layout: AttentionLayout,
): { o: Float64Array; lse: Float64Array } {
  const { tokens, heads, headSize } = layout;
  const o = new Float64Array(tokens * heads * headSize);
  const lse = new Float64Array(tokens * heads);
  for (let i = 0; i < tokens; i++) {
    for (let head = 0; head < heads; head++) {
      const { first, weights, logSum } = softmaxRow(qkv, segmentStart[i]!, i, head, layout);
      lse[i * heads + head] = logSum;
      weights.forEach((weight, j) => {
        const v = vAt(layout, first + j, head);
        for (let d = 0; d < headSize; d++) {
          o[(i * heads + head) * headSize + d]! += weight * qkv[v + d]!;
        }
      });
    }
  }
  return { o, lse };
}

/** dq [tokens, heads · headSize]; dk and dv [tokens, kvHeads · headSize], summed over their queries. */
export function attentionBackward(
  qkv: ArrayLike<number>,
  segmentStart: ArrayLike<number>,
  dO: ArrayLike<number>,
  layout: AttentionLayout,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { tokens, heads, kvHeads, headSize, scale = 1 / Math.sqrt(headSize) } = layout;
  const dq = new Float64Array(tokens * heads * headSize);
  const dk = new Float64Array(tokens * kvHeads * headSize);
  const dv = new Float64Array(tokens * kvHeads * headSize);
  for (let i = 0; i < tokens; i++) {
    for (let head = 0; head < heads; head++) {
      const { first, weights } = softmaxRow(qkv, segmentStart[i]!, i, head, layout);
      const out = (i * heads + head) * headSize;
      const dWeights = weights.map((_, j) => {
        const v = vAt(layout, first + j, head);
        let sum = 0;
        for (let d = 0; d < headSize; d++) sum += dO[out + d]! * qkv[v + d]!;
        return sum;
      });
      const mean = weights.reduce((sum, weight, j) => sum + weight * dWeights[j]!, 0);
      weights.forEach((weight, j) => {
        const dScore = weight * (dWeights[j]! - mean) * scale;
        const [q, k] = [qAt(layout, i, head), kAt(layout, first + j, head)];
        const kv = ((first + j) * kvHeads + kvHeadOf(layout, head)) * headSize;
        for (let d = 0; d < headSize; d++) {
          dq[out + d]! += dScore * qkv[k + d]!;
          dk[kv + d]! += dScore * qkv[q + d]!;
          dv[kv + d]! += weight * dO[out + d]!;
        }
      });
    }
  }
  return { dq, dk, dv };
}

/** The three gradients laid out as qkv is, [tokens, rowSize]. Columns of no head are zero. */
export function combineHeads(
  { dq, dk, dv }: { dq: Float64Array; dk: Float64Array; dv: Float64Array },
  layout: AttentionLayout,
): Float64Array {
  const { tokens, heads, kvHeads, headSize, rowSize } = layout;
  const rows = new Float64Array(tokens * rowSize);
  for (let t = 0; t < tokens; t++) {
    const copy = (from: Float64Array, head: number, count: number, column: number) => {
      const start = (t * count + head) * headSize;
      rows.set(from.subarray(start, start + headSize), t * rowSize + column);
    };
    for (let head = 0; head < heads; head++) copy(dq, head, heads, layout.qColumn(head));
    for (let head = 0; head < kvHeads; head++) {
      copy(dk, head, kvHeads, layout.kColumn(head));
      copy(dv, head, kvHeads, layout.vColumn(head));
    }
  }
  return rows;
}

/** The attention of token i over [first, i], and the log of its sum. */
function softmaxRow(
  qkv: ArrayLike<number>,
  start: number,
  i: number,
  head: number,
  layout: AttentionLayout,
): { first: number; weights: Float64Array; logSum: number } {
  const { headSize, window = Infinity, scale = 1 / Math.sqrt(headSize) } = layout;
  const first = Math.max(start, i - window + 1);
  const q = qAt(layout, i, head);
  const scores = Float64Array.from({ length: i - first + 1 }, (_, j) => {
    const k = kAt(layout, first + j, head);
    let sum = 0;
    for (let d = 0; d < headSize; d++) sum += qkv[q + d]! * qkv[k + d]!;
    return scale * sum;
  });
  const largest = Math.max(...scores);
  const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
  const logSum = largest + Math.log(sum);
  return { first, weights: scores.map((score) => Math.exp(score - logSum)), logSum };
}

function kvHeadOf({ heads, kvHeads }: AttentionLayout, head: number): number {
  return Math.floor((head * kvHeads) / heads);
}

function qAt(layout: AttentionLayout, token: number, head: number): number {
  return token * layout.rowSize + layout.qColumn(head);
}

function kAt(layout: AttentionLayout, token: number, head: number): number {
  return token * layout.rowSize + layout.kColumn(kvHeadOf(layout, head));
}

function vAt(layout: AttentionLayout, token: number, head: number): number {
  return token * layout.rowSize + layout.vColumn(kvHeadOf(layout, head));
}
