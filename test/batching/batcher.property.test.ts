import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Batcher } from '../../src/batching/batcher.js';
import { ServiceError } from '../../src/errors.js';
import { settled } from './held-engine.js';

const limits = fc.record({ maxBatchSize: fc.integer({ min: 1, max: 5 }), maxQueue: fc.integer({ min: 1, max: 8 }) });

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('submit' as const), digestible: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(40) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('finish' as const) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('let promises settle' as const) }) },
  ),
  { maxLength: 60 },
);

/** An engine that fails for whole batches that hold an indigestible input, and checks that it is used as promised. */
class CheckedEngine {
  readonly seen = new Set<number>();
  readonly indigestible = new Set<number>();
  readonly maxBatchSize: number;
  finish: (() => void) | undefined;

  constructor(maxBatchSize: number) {
    this.maxBatchSize = maxBatchSize;
  }

  readonly run = (inputs: number[]): Promise<number[]> => {
    assert.equal(this.finish, undefined, 'two runs at once');
    assert.ok(inputs.length >= 1 && inputs.length <= this.maxBatchSize, `a batch of ${inputs.length}`);
    const fresh = inputs.filter((input) => !this.seen.has(input));
    const newest = Math.max(-1, ...this.seen);
    assert.deepEqual(
      inputs,
      inputs.toSorted((a, b) => a - b),
      'the order within a batch',
    );
    assert.ok(
      fresh.every((input) => input > newest),
      'the order of batches',
    );
    for (const input of inputs) this.seen.add(input);
    return new Promise((resolve, reject) => {
      this.finish = () => {
        this.finish = undefined;
        if (inputs.some((input) => this.indigestible.has(input))) reject(new Error(`indigestible ${inputs}`));
        else resolve(inputs.map((input) => 10 * input));
      };
    });
  };
}

test('any interleaving of submit, abort and finish: each entry is answered once, in order, one run at a time', async () => {
  await fc.assert(
    fc.asyncProperty(limits, steps, async ({ maxBatchSize, maxQueue }, script) => {
      const engine = new CheckedEngine(maxBatchSize);
      const observer = {
        queueDepth: (entries: number) => assert.ok(entries >= 0 && entries <= maxQueue),
        queueWait: () => undefined,
      };
      const batcher = new Batcher(engine.run, { maxBatchSize, maxWaitMs: 0, maxQueue }, observer);
      const controllers: AbortController[] = [];
      const abortedUnseen: number[] = [];
      const answers: Promise<string>[] = [];

      for (const step of script) {
        switch (step.do) {
          case 'submit': {
            const input = controllers.length;
            const controller = new AbortController();
            if (!step.digestible) engine.indigestible.add(input);
            controllers.push(controller);
            const answer = batcher.submit(input, { signal: controller.signal });
            answers.push(
              answer.then(
                ({ output }) => `output ${output}`,
                (error) => (error instanceof ServiceError ? error.code : error.message),
              ),
            );
            break;
          }
          case 'abort':
            if (step.which < controllers.length && !engine.seen.has(step.which)) abortedUnseen.push(step.which);
            controllers[step.which]?.abort();
            break;
          case 'finish':
            engine.finish?.();
            break;
          case 'let promises settle':
            await settled();
            break;
        }
      }
      const closing = batcher.close();
      for (await settled(); engine.finish; await settled()) engine.finish();
      await closing;

      const outcomes = await Promise.all(answers);
      for (const [input, outcome] of outcomes.entries()) {
        if (outcome === 'queue_full') assert.ok(!engine.seen.has(input));
        else if (outcome === 'client_closed_request') assert.ok(controllers[input]?.signal.aborted);
        else if (engine.indigestible.has(input)) assert.equal(outcome, `indigestible ${input}`);
        else assert.equal(outcome, `output ${10 * input}`);
      }
      for (const input of abortedUnseen) assert.ok(!engine.seen.has(input), 'an aborted entry reached the engine');
      assert.equal(batcher.depth, 0);
    }),
    { numRuns: 400 },
  );
});
