import { timingSafeEqual } from 'node:crypto';
import { type Credential, digestOf } from './key-file.js';

/** Those who may ask. What it holds can be replaced while requests come in. */
export class Keyring {
  #credentials: readonly Credential[] = [];
  #hasAdmin = false;
  /** Whether every address but those of health needs a key: there is a file of keys. */
  readonly guardsAll: boolean;

  constructor(credentials: readonly Credential[], guardsAll: boolean) {
    this.guardsAll = guardsAll;
    this.replace(credentials);
  }

  replace(credentials: readonly Credential[]): void {
    this.#credentials = credentials;
    this.#hasAdmin = credentials.some(({ admin }) => admin);
  }

  /** Whether there is anyone who may load and unload models. */
  get hasAdmin(): boolean {
    return this.#hasAdmin;
  }

  /** How many there are. */
  get size(): number {
    return this.#credentials.length;
  }

  /** Whose key it is. The time it takes depends on how many keys there are alone, not on which of them fits, or how far. */
  find(key: string): Credential | undefined {
    const digest = digestOf(key);
    let found: Credential | undefined;
    for (const credential of this.#credentials) if (timingSafeEqual(credential.digest, digest)) found = credential;
    return found;
  }
}
