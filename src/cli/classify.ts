import { createInterface } from 'node:readline';
import type { Config } from '../config.js';
import { topK } from '../model-registry/top-k.js';
import { inOrder } from './in-order.js';
import { readPicture, reportFailure } from './picture.js';
import { type Session, withSession } from './session.js';
import { isUrl, UrlReader } from './url-reader.js';

/** Prints the likeliest labels of each picture: a file, a URL, or what stdin lists. Answers the exit code: 1 if any was not done. */
export async function classify(config: Config<'classify'>, env: NodeJS.ProcessEnv): Promise<number> {
  const { maxPictureBytes: maxBytes, timeoutMs } = config;
  const pictures = await withStdin(config.operands, process.stdin);
  const urls = new UrlReader({ maxBytes, timeoutMs });
  const read = (picture: string) => (isUrl(picture) ? urls.read(picture) : readPicture(picture, maxBytes));
  try {
    return await withSession(config, env, (session) => classifyAll(pictures, config, session), read);
  } finally {
    await urls.close();
  }
}

/** The lines of stdin in place of each "-"; empty ones are passed over. */
async function withStdin(operands: readonly string[], stdin: NodeJS.ReadableStream): Promise<string[]> {
  const lines: string[] = [];
  if (operands.includes('-')) for await (const line of createInterface({ input: stdin })) lines.push(line.trim());
  return operands.flatMap((operand) => (operand === '-' ? lines.splice(0).filter(Boolean) : [operand]));
}

async function classifyAll(pictures: readonly string[], config: Config<'classify'>, session: Session): Promise<number> {
  const { model, concurrency, classify } = session;
  const isAlone = pictures.length === 1 && !config.operands.includes('-');
  const results = [];
  let failures = 0;
  for await (const outcome of inOrder(pictures, concurrency, classify)) {
    const { file } = outcome;
    if ('error' in outcome) {
      failures++;
      reportFailure(file, outcome.error);
      results.push(outcome);
      continue;
    }
    const predictions = topK(outcome.answered.logits, config.topK, model.manifest.categories);
    if (config.json) results.push({ file, predictions });
    else process.stdout.write(asText(predictions, isAlone ? undefined : file));
  }
  if (config.json) {
    const { name, weights } = model.manifest;
    const { precision } = model.info;
    process.stdout.write(`${JSON.stringify({ model: name, weights, precision, results }, null, 2)}\n`);
  }
  return failures > 0 ? 1 : 0;
}

function asText(predictions: readonly { label: string; probability: number }[], heading: string | undefined): string {
  const lines = predictions.map(({ label, probability }) => `${label}: ${(100 * probability).toFixed(1)}%\n`);
  return heading === undefined ? lines.join('') : `${heading}\n${lines.map((line) => `  ${line}`).join('')}`;
}
