import { SingleBar } from 'cli-progress';
import { everyTenth, type FetchProgress } from '../weights/hub-progress.js';
import { megabytes } from './units.js';

/** Shows how a file comes: a bar on a terminal, elsewhere a line for each tenth. */
export interface ProgressDisplay {
  update(progress: FetchProgress): void;
  /** Writes a line of its own. */
  readonly log: (line: string) => void;
  end(): void;
}

/** @param screen stderr, so that stdout holds nothing but answers */
export function progressDisplay(screen: NodeJS.WriteStream = process.stderr): ProgressDisplay {
  if (screen.isTTY) return new Bar(screen);
  const log = (line: string) => void screen.write(`vgg-serve: ${line}\n`);
  return { update: everyTenth(log), log, end() {} };
}

/** Is drawn from the first progress on; a file that is there already shows none. */
class Bar implements ProgressDisplay {
  readonly #screen: NodeJS.WriteStream;
  readonly #bar: SingleBar;
  /** Where this call began, for its speed: a resumed file does not begin at 0. */
  #begun: { readonly receivedBytes: number; readonly at: number } | undefined;

  constructor(screen: NodeJS.WriteStream) {
    this.#screen = screen;
    this.#bar = new SingleBar({
      format: '{file} {bar} {received} of {size} MB  {speed} MB/s  eta {eta_formatted}',
      barsize: 16,
      stream: screen,
      etaBuffer: 100,
      clearOnComplete: true,
      linewrap: true, // Else Ctrl-C would leave the terminal without it.
    });
  }

  update(progress: FetchProgress): void {
    const { receivedBytes, totalBytes = 0 } = progress;
    if (this.#begun === undefined || receivedBytes < this.#begun.receivedBytes) {
      this.#begun = { receivedBytes, at: performance.now() };
      this.#bar.stop();
      this.#bar.start(totalBytes, receivedBytes, this.#payload(progress));
    } else {
      this.#bar.setTotal(totalBytes);
      this.#bar.update(receivedBytes, this.#payload(progress));
    }
  }

  readonly log = (line: string): void => {
    this.#screen.write(`\r\u001b[Kvgg-serve: ${line}\n`);
  };

  end(): void {
    this.#bar.stop();
  }

  #payload({ file, receivedBytes, totalBytes }: FetchProgress): Record<string, string> {
    const { receivedBytes: from, at } = this.#begun ?? { receivedBytes, at: 0 };
    const seconds = Math.max((performance.now() - at) / 1000, 0.001);
    return {
      file,
      received: megabytes(receivedBytes),
      size: totalBytes === undefined ? '?' : megabytes(totalBytes),
      speed: megabytes((receivedBytes - from) / seconds),
    };
  }
}
