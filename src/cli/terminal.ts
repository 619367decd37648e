import { createInterface, type Interface } from 'node:readline/promises';

/** The input ended while a question was open. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError';
}

/** Asks a person questions. */
export class Terminal {
  readonly #output: NodeJS.WritableStream;
  readonly #lines: Interface;
  readonly #ended = new AbortController();

  constructor(input: NodeJS.ReadableStream, output: NodeJS.WritableStream) {
    this.#output = output;
    this.#lines = createInterface({ input, output });
    this.#lines.once('close', () => this.#ended.abort());
  }

  /**
   * Asks until `read` takes the answer; what it throws is shown.
   * @returns undefined for an empty answer, which stands for `fallback`
   * @throws UnansweredError when the input ends (Ctrl-C, Ctrl-D)
   */
  async ask<T>(question: string, fallback: string, read: (answer: string) => T | Promise<T>): Promise<T | undefined> {
    for (;;) {
      const answer = await this.#answer(`${question} [${fallback}]: `);
      if (answer === '') return undefined;
      try {
        return await read(answer);
      } catch (error) {
        this.#output.write(`  ${(error as Error).message}\n`);
      }
    }
  }

  async #answer(prompt: string): Promise<string> {
    try {
      return (await this.#lines.question(prompt, { signal: this.#ended.signal })).trim();
    } catch (error) {
      throw new UnansweredError('the input ended before all was answered; nothing was written', { cause: error });
    }
  }

  close(): void {
    this.#lines.close();
  }
}
