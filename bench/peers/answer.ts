/** What every server says of a picture, the likeliest first. */
export type Answer = readonly { readonly index: number; readonly probability: number }[];

/** Reads what this service, the servers of this folder and TorchServe answer; of this service five, as of the others. */
export function parseAnswer(text: string): Answer {
  const body = JSON.parse(text) as {
    results?: { predictions: Answer }[];
    predictions?: Answer;
  };
  const predictions = body.results?.[0]?.predictions ?? body.predictions;
  if (predictions) return predictions.slice(0, 5).map(({ index, probability }) => ({ index, probability }));
  // TorchServe: the probability under the class's index.
  return Object.entries(body)
    .map(([index, probability]) => ({ index: Number(index), probability: Number(probability) }))
    .sort((a, b) => b.probability - a.probability);
}

/**
 * Why an answer is not the reference's; undefined where it is.
 * @param isExact false for reduced precision, which may change the order and the numbers a little
 */
export function difference(seen: Answer, reference: Answer, isExact: boolean): string | undefined {
  const indices = (answer: Answer) => answer.map(({ index }) => index).sort((a, b) => a - b);
  const [first, expected] = [seen[0], reference[0]];
  const places = isExact ? indices(reference).join() === indices(seen).join() : first?.index === expected?.index;
  const tolerance = isExact ? 1e-3 : 5e-2;
  const near = Math.abs((first?.probability ?? Number.NaN) - (expected?.probability ?? Number.NaN)) <= tolerance;
  if (places && near) return undefined;
  return `it answers ${JSON.stringify(seen)}, not ${JSON.stringify(reference)}`;
}
