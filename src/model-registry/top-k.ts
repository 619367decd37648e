/** How an answer shows one class. */
export interface Prediction {
  readonly label: string;
  /** Of the class, as the logits count them. */
  readonly index: number;
  readonly probability: number;
}

/** Computed in float64; the largest logit is subtracted first, so that nothing overflows. */
export function softmax(logits: Float32Array): Float64Array {
  const probability = probabilityOf(logits);
  return Float64Array.from(logits, probability);
}

/** Gives the probability of each single logit. */
function probabilityOf(logits: Float32Array): (logit: number) => number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return (logit) => Math.exp(logit - largest) / sum;
}

/**
 * The `k` likeliest classes, the likeliest first; all of them if there are fewer. Of equal logits the lower index comes
 * first; torch.topk promises no order there. The rank goes by the logits, which differ where probabilities are so small
 * that they are all 0.
 * @param categories one name for each logit
 */
export function topK(logits: Float32Array, k: number, categories: readonly string[]): Prediction[] {
  const probability = probabilityOf(logits);
  return ranking(logits, k).map((index) => ({
    label: categories[index] as string,
    index,
    probability: probability(logits[index] as number),
  }));
}

/** Longer lists are sorted as a whole. */
const longestInserted = 32;

/** Indexes of the `k` largest values. Few of a thousand classes get into the first five: insertion is 13 times faster there. */
function ranking(values: Float32Array, k: number): number[] {
  const value = (index: number | undefined) => values[index as number] as number;
  if (k > longestInserted) return [...values.keys()].sort((a, b) => value(b) - value(a)).slice(0, k); // Stable.
  const ranked: number[] = [];
  for (let index = 0; index < values.length; index++) {
    if (ranked.length === k && !(value(index) > value(ranked[k - 1]))) continue;
    let rank = ranked.length;
    while (rank > 0 && value(ranked[rank - 1]) < value(index)) rank--;
    ranked.splice(rank, 0, index);
    if (ranked.length > k) ranked.pop();
  }
  return ranked;
}
