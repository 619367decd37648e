import type { Config } from '../config.js';
import { topK } from '../model-registry/top-k.js';
import { inOrder } from './in-order.js';
import { reportFailure } from './picture.js';
import { withSession } from './session.js';

/** Prints the likeliest labels of each file. Answers the exit code: 1 if any file was not done. */
export async function classify(config: Config<'classify'>): Promise<number> {
  return await withSession(config, async ({ model, concurrency, classify }) => {
    const results = [];
    let failures = 0;
    for await (const outcome of inOrder(config.operands, concurrency, classify)) {
      const { file } = outcome;
      if ('error' in outcome) {
        failures++;
        reportFailure(file, outcome.error);
        results.push(outcome);
        continue;
      }
      const predictions = topK(outcome.answered.logits, config.topK, model.manifest.categories);
      if (config.json) results.push({ file, predictions });
      else process.stdout.write(asText(predictions, config.operands.length > 1 ? file : undefined));
    }
    if (config.json) {
      const { name, weights } = model.manifest;
      process.stdout.write(`${JSON.stringify({ model: name, weights, results }, null, 2)}\n`);
    }
    return failures > 0 ? 1 : 0;
  });
}

function asText(predictions: readonly { label: string; probability: number }[], heading: string | undefined): string {
  const lines = predictions.map(({ label, probability }) => `${label}: ${(100 * probability).toFixed(1)}%\n`);
  return heading === undefined ? lines.join('') : `${heading}\n${lines.map((line) => `  ${line}`).join('')}`;
}
