// Logits to the probabilities that a token is drawn from, in Hugging Face's order:
// repetition penalty, temperature, top-k, top-p, softmax.

interface SamplingSettings {
  /** 1 is none. */
  repetitionPenalty: number;
  /** 0 is greedy: all probability on the largest logit. */
  temperature: number;
  /** 0 keeps all. */
  topK: number;
  /** 1 keeps all. */
  topP: number;
}

/** `previous` are the ids so far, prompt included; each is penalized once however often it occurs. */
export function sampling(
  logits: ArrayLike<number>,
  previous: ArrayLike<number>,
  { repetitionPenalty, temperature, topK, topP }: SamplingSettings,
): Float64Array {
  let scores = Float64Array.from(logits);
  for (const id of new Set(Array.from(previous))) {
    scores[id]! *= scores[id]! < 0 ? repetitionPenalty : 1 / repetitionPenalty;
  }
  if (temperature === 0) {
    const best = scores.indexOf(Math.max(...scores));
    return scores.map((_, i) => (i === best ? 1 : 0));
  }
  scores = scores.map((score) => score / temperature);
  if (topK > 0 && topK < scores.length) {
    const weakest = scores.toSorted().at(-topK)!; // what ties with it stays
    scores = scores.map((score) => (score < weakest ? -Infinity : score));
  }
  return softmax(topP < 1 ? nucleus(scores, topP) : scores);
}

/** Keeps the fewest tokens whose probabilities reach topP: those before which less than it lies. */
function nucleus(scores: Float64Array, topP: number): Float64Array {
  const probabilities = softmax(scores);
  const descending = [...scores.keys()].toSorted((a, b) => scores[b]! - scores[a]!);
  const kept = new Float64Array(scores.length).fill(-Infinity);
  let before = 0;
  for (const [rank, id] of descending.entries()) {
    if (rank > 0 && before >= topP) break;
    kept[id] = scores[id]!;
    before += probabilities[id]!;
  }
  return kept;
}

function softmax(scores: Float64Array): Float64Array {
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
