/** The entry is its own link, so it can stand in one queue only. */
export interface Linked<T> {
  previous: T | undefined;
  next: T | undefined;
}

/** First in, first out; an entry may also leave from the middle. Every operation is O(1). */
export class LinkedQueue<T extends Linked<T>> {
  #first: T | undefined;
  #last: T | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): T | undefined {
    return this.#first;
  }

  push(entry: T): void {
    entry.previous = this.#last;
    entry.next = undefined;
    if (this.#last) this.#last.next = entry;
    else this.#first = entry;
    this.#last = entry;
    this.#length++;
  }

  /** The entry must be in this queue. */
  remove(entry: T): void {
    if (entry.previous) entry.previous.next = entry.next;
    else this.#first = entry.next;
    if (entry.next) entry.next.previous = entry.previous;
    else this.#last = entry.previous;
    // A dead entry that V8 has moved to its old space would keep all that came after it alive until that is collected.
    entry.previous = entry.next = undefined;
    this.#length--;
  }

  /** From the first to the last. The queue must not change meanwhile. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let entry = this.#first; entry; entry = entry.next) yield entry;
  }
}
