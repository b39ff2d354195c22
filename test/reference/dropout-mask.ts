// Which elements a step's dropout keeps: shaders/lib/dropout.wgsl again, one element at a time.

/** What the mask depends on besides the element. */
export interface MaskPlace {
  seed: number;
  step: number;
  micro: number;
  moduleId: number;
}

/** 1 for each of `count` elements that stays, 0 for each that goes. */
export function keptMask(place: MaskPlace, count: number, probability: number): Uint8Array {
  const [first, second] = [maskKey(place.seed, place), maskKey(place.seed ^ 0x9e3779b9, place)];
  const threshold = Math.round(probability * 2 ** 16);
  return Uint8Array.from({ length: count }, (_, i) => {
    const pair = Math.floor(i / 2);
    const bits = scramble(scramble(pair + first) ^ second);
    const draw = i % 2 === 0 ? bits % 2 ** 16 : Math.floor(bits / 2 ** 16);
    return draw >= threshold ? 1 : 0;
  });
}

function maskKey(seed: number, { step, micro, moduleId }: MaskPlace): number {
  return [step, micro, moduleId].reduce((key, part) => scramble(key ^ part), scramble(seed));
}

/** lowbias32 of Chris Wellons' hash-prospector. */
function scramble(value: number): number {
  let bits = value >>> 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x7feb352d) >>> 0;
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b) >>> 0;
  return (bits ^ (bits >>> 16)) >>> 0;
}
