// Rotary positions: dimension i of a head turns with dimension i + rotary / 2, as in GPT-NeoX; those from
// rotary on stay.

/** Llama 3.1's stretching of long wavelengths: fields of config.json's rope_scaling. */
export interface Llama3Scaling {
  factor: number;
  low_freq_factor: number;
  high_freq_factor: number;
  original_max_position_embeddings: number;
}

/** Radians per position, [headSize / 2]. */
export function inverseFrequencies(
  headSize: number,
  theta: number,
  scaling: Llama3Scaling | null = null,
): Float64Array {
  const plain = Float64Array.from(
    { length: headSize / 2 },
    (_, i) => 1 / theta ** ((2 * i) / headSize),
  );
  return scaling ? plain.map((frequency) => stretch(frequency, scaling)) : plain;
}

/** As transformers writes it: three ranges of wavelength, the middle one blended. */
function stretch(frequency: number, scaling: Llama3Scaling): number {
  const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
  const original = scaling.original_max_position_embeddings;
  const wavelength = (2 * Math.PI) / frequency;
  if (wavelength < original / high) return frequency;
  if (wavelength > original / low) return frequency / factor;
  const smooth = (original / wavelength - low) / (high - low);
  return ((1 - smooth) * frequency) / factor + smooth * frequency;
}

/** Rows of `rowSize` values; heads start at `headColumns`, and other columns are copied as they are. */
interface RopeLayout {
  tokens: number;
  rowSize: number;
  headSize: number;
  headColumns: number[];
  /** Dimensions of a head that turn; all of them, if not given. */
  rotary?: number;
  /** What turns also grows by this; 1, if not given. */
  scale?: number;
}

/** x [tokens, rowSize], positions [tokens], frequencies [rotary / 2]. */
export function rope(
  x: ArrayLike<number>,
  positions: ArrayLike<number>,
  frequencies: ArrayLike<number>,
  layout: RopeLayout,
): Float64Array {
  return turn(x, positions, frequencies, layout, 1);
}

/** dx from dy: a rotation's transpose turns the other way, and grows alike. */
export function ropeBackward(
  dy: ArrayLike<number>,
  positions: ArrayLike<number>,
  frequencies: ArrayLike<number>,
  layout: RopeLayout,
): Float64Array {
  return turn(dy, positions, frequencies, layout, -1);
}

function turn(
  x: ArrayLike<number>,
  positions: ArrayLike<number>,
  frequencies: ArrayLike<number>,
  { tokens, rowSize, headSize, headColumns, rotary = headSize, scale = 1 }: RopeLayout,
  direction: 1 | -1,
): Float64Array {
  const y = Float64Array.from(x);
  for (let t = 0; t < tokens; t++) {
    for (const column of headColumns) {
      for (let i = 0; i < rotary / 2; i++) {
        const first = t * rowSize + column + i;
        const second = first + rotary / 2;
        const angle = direction * positions[t]! * frequencies[i]!;
        const [cosine, sine] = [scale * Math.cos(angle), scale * Math.sin(angle)];
        y[first] = x[first]! * cosine - x[second]! * sine;
        y[second] = x[second]! * cosine + x[first]! * sine;
      }
    }
  }
  return y;
}
