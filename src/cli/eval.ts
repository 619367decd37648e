import { open } from 'node:fs/promises';
import { SingleBar } from 'cli-progress';
import type { Config } from '../config.js';
import type { Precision } from '../engines/engine.js';
import { topK } from '../model-registry/top-k.js';
import { type LabelledPicture, readDataset } from './dataset.js';
import { inOrder } from './in-order.js';
import { type PictureFailure, reportFailure } from './picture.js';
import { type Session, withSession } from './session.js';

interface Tally {
  /** Answered pictures; refused ones are not counted. */
  pictures: number;
  /** How many of them had their class as the likeliest, and how many among the five likeliest. */
  top1: number;
  top5: number;
  readonly refused: { readonly file: string; readonly error: PictureFailure }[];
  readonly answers: string[];
}

/** The names are those of the JSON. */
interface Evaluated {
  readonly model: string;
  readonly weights: string;
  readonly precision: Precision;
}

/** Prints acc@1 and acc@5 of the model on a folder per class. Answers the exit code: 1 if any picture was refused. */
export async function evaluate(config: Config<'eval'>, env: NodeJS.ProcessEnv): Promise<number> {
  return await withSession(config, env, async (session) => {
    const { info, manifest } = session.model;
    const { name, weights, categories } = manifest;
    const pictures = await readDataset(config.operands[0] as string, categories);
    // Opened before the work: a file that cannot be written is better known now.
    const answers = config.answers === undefined ? undefined : await open(config.answers, 'w');
    const tally = await count(pictures, session);
    await answers?.writeFile(tally.answers.join(''));
    await answers?.close();

    for (const { file, error } of tally.refused) reportFailure(file, error);
    const what = { model: name, weights, precision: info.precision };
    process.stdout.write(config.json ? asJson(what, tally) : asText(what, tally));
    return tally.refused.length > 0 ? 1 : 0;
  });
}

async function count(pictures: readonly LabelledPicture[], session: Session): Promise<Tally> {
  const tally: Tally = { pictures: 0, top1: 0, top5: 0, refused: [], answers: [] };
  const { categories } = session.model.manifest;
  // Draws on stderr, and only where that is a terminal. `linewrap`: else Ctrl-C would leave the terminal without it.
  const bar = new SingleBar({ format: '{bar} {value}/{total} acc@1 {acc}', clearOnComplete: true, linewrap: true });
  bar.start(pictures.length, 0, { acc: '' });
  try {
    const outcomes = inOrder(pictures, session.concurrency, async (picture) => ({
      picture,
      outcome: await session.classify(picture.file),
    }));
    for await (const { picture, outcome } of outcomes) {
      if ('error' in outcome) {
        tally.refused.push(outcome);
        tally.answers.push(`${picture.relativePath}\terror:${outcome.error.code}\n`);
      } else {
        const likeliest = topK(outcome.answered.logits, 5, categories);
        const rank = likeliest.findIndex(({ index }) => index === picture.classIndex);
        tally.pictures++;
        if (rank === 0) tally.top1++;
        if (rank >= 0) tally.top5++;
        const [first] = likeliest;
        tally.answers.push(`${picture.relativePath}\t${first?.index}\t${first?.probability.toFixed(6)}\n`);
      }
      bar.increment({ acc: percent(tally.top1, tally.pictures) });
    }
  } finally {
    bar.stop();
  }
  return tally;
}

function asText({ model, weights, precision }: Evaluated, { pictures, top1, top5, refused }: Tally): string {
  return [
    `${model} ${weights}${precision === 'fp32' ? '' : ` ${precision}`}`,
    `acc@1 ${percent(top1, pictures)} (${top1} of ${pictures})`,
    `acc@5 ${percent(top5, pictures)} (${top5} of ${pictures})`,
    ...(refused.length > 0 ? [`refused ${refused.length}`] : []),
  ]
    .join('\n')
    .concat('\n');
}

function asJson(what: Evaluated, { pictures, top1, top5, refused }: Tally): string {
  const accuracies = { 'acc@1': (100 * top1) / pictures, 'acc@5': (100 * top5) / pictures };
  return `${JSON.stringify({ ...what, pictures, refused: refused.length, top1, top5, ...accuracies }, null, 2)}\n`;
}

function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(2)}%`;
}
