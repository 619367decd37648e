/** How an answer shows one class. */
export interface Prediction {
  readonly label: string;
  /** Of the class, as the logits count them. */
  readonly index: number;
  readonly probability: number;
}

/** Computed in float64; the largest logit is subtracted first, so that nothing overflows. */
export function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const exponentials = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return exponentials.map((exponential) => exponential / sum);
}

/**
 * The `k` likeliest classes, the likeliest first; all of them if there are fewer. Of equal logits the lower index comes
 * first (the sort is stable); torch.topk promises no order there. The rank goes by the logits, which differ where
 * probabilities are so small that they are all 0.
 * @param categories one name for each logit
 */
export function topK(logits: Float32Array, k: number, categories: readonly string[]): Prediction[] {
  const probabilities = softmax(logits);
  const logit = (index: number) => logits[index] as number;
  return Array.from(logits.keys())
    .sort((a, b) => logit(b) - logit(a))
    .slice(0, k)
    .map((index) => ({
      label: categories[index] as string,
      index,
      probability: probabilities[index] as number,
    }));
}
