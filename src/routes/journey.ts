/** Where a request can be when it is given up. */
export const stages = ['upload', 'decode', 'queue', 'engine'] as const;
export type Stage = (typeof stages)[number];

/** Knows how far the pictures of one request have come. */
export class Journey {
  readonly #pictures: Record<Stage, number> = { upload: 1, decode: 0, queue: 0, engine: 0 };

  /** Of the picture that has come least far; until the body is in, the request counts as one. `undefined`: all is done. */
  get stage(): Stage | undefined {
    return stages.find((stage) => this.#pictures[stage] > 0);
  }

  uploaded(pictures: number): void {
    this.#pictures.upload = 0;
    this.#pictures.decode = pictures;
  }

  /** One picture has come from there to the next stage, or to its end. */
  move(from: Stage, to?: Stage): void {
    this.#pictures[from]--;
    if (to !== undefined) this.#pictures[to]++;
  }
}
