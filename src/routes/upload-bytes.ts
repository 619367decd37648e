import { refusal, type ServiceError } from '../errors.js';

/** What one request holds of the memory for bodies. */
export interface Hold {
  /** @throws ServiceError `overloaded` where the bodies of all requests would be more than allowed; then it holds no more than before */
  grow(bytes: number): void;
  /** Its pictures are decoded, or given up. May be called again. */
  release(): void;
}

/** Bounds the bytes of all bodies together that are in memory: those that come in, and those that are not decoded yet. */
export class UploadBytes {
  readonly #most: number;
  readonly #onChange: (held: number) => void;
  #held = 0;

  constructor(most: number, onChange: (held: number) => void = () => {}) {
    this.#most = most;
    this.#onChange = onChange;
  }

  hold(): Hold {
    let own = 0;
    return {
      grow: (bytes) => {
        const others = this.#held - own;
        // One that is alone is bounded by --max-request-bytes.
        if (others > 0 && this.#held + bytes > this.#most) throw tooMuch(others, this.#most);
        own += bytes;
        this.#change(bytes);
      },
      release: () => {
        if (own === 0) return;
        this.#change(-own);
        own = 0;
      },
    };
  }

  #change(bytes: number): void {
    this.#held += bytes;
    this.#onChange(this.#held);
  }
}

function tooMuch(held: number, most: number): ServiceError {
  const detail = `The bodies of other requests take ${held} of the ${most} bytes that all together may. Try again in 1 s.`;
  return refusal('overloaded', detail, { retryAfterSeconds: 1 });
}
