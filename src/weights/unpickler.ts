import type { Blame, CheckpointError, CheckpointReason } from './checkpoint-error.js';
import { Global, kindOf, type Value } from './pickle-values.js';

/** What the pickle's outside world is made of. */
export interface PickleHost {
  /** The meaning of an imported name (`collections.OrderedDict`), or undefined when it is not allowed. */
  readonly globalOf: (name: string) => Global | undefined;
  readonly persistentLoad: (id: Value) => Value;
  readonly blame: Blame;
}

export const largestPickle = 4 << 20;
/** Each may make a dict, of some 150 bytes. A tensor of a state dict takes some 45, so this is room for 11,000. */
const largestOpcodeCount = 1 << 19;

/**
 * Reads one pickle (protocols 2 to 5) by looking its opcodes up in a table; an opcode or a global outside the tables is
 * an error, and nothing is ever imported or called. Meanings as in CPython's Lib/pickletools.py; the choice of opcodes
 * follows torch/_weights_only_unpickler.py.
 * @returns the value, and where the next byte after the pickle is
 */
export function unpickle(bytes: Buffer, start: number, host: PickleHost): { value: Value; end: number } {
  const machine = new Machine(bytes, start, host);
  for (let count = 0; count < largestOpcodeCount; count++) {
    const code = machine.uint(1);
    if (code === stopCode) return { value: machine.pop(), end: machine.position };
    const opcode = opcodes.get(code);
    if (!opcode) throw machine.error('unknown_opcode', `The pickle has the opcode 0x${code.toString(16)}`);
    opcode(machine);
  }
  throw machine.error('pickle_too_large', 'The pickle has too many opcodes');
}

const ascii = (character: string): number => character.charCodeAt(0);
const stopCode = ascii('.');

const opcodes: ReadonlyMap<number, (machine: Machine) => void> = new Map([
  // The frame of the pickle.
  [0x80, (m) => m.checkProtocol(m.uint(1))], // PROTO
  [0x95, (m) => m.take(8)], // FRAME
  // Constants.
  [ascii('N'), (m) => m.push(null)],
  [0x88, (m) => m.push(true)], // NEWTRUE
  [0x89, (m) => m.push(false)], // NEWFALSE
  [ascii('K'), (m) => m.push(m.uint(1))], // BININT1
  [ascii('M'), (m) => m.push(m.uint(2))], // BININT2
  [ascii('J'), (m) => m.push(m.take(4).readInt32LE())], // BININT
  [0x8a, (m) => m.push(longOf(m.take(m.uint(1))))], // LONG1
  [ascii('G'), (m) => m.push(m.take(8).readDoubleBE())], // BINFLOAT
  [0x8c, (m) => m.push(m.text(m.uint(1)))], // SHORT_BINUNICODE
  [ascii('X'), (m) => m.push(m.text(m.uint(4)))], // BINUNICODE
  [ascii('U'), (m) => m.push(m.text(m.uint(1)))], // SHORT_BINSTRING: Python 2's str
  [ascii('T'), (m) => m.push(m.text(m.uint(4)))], // BINSTRING
  [ascii('C'), (m) => m.push(m.take(m.uint(1)))], // SHORT_BINBYTES
  [ascii('B'), (m) => m.push(m.take(m.uint(4)))], // BINBYTES
  // Containers.
  [ascii('('), (m) => m.mark()],
  [ascii(')'), (m) => m.push([])], // EMPTY_TUPLE
  [0x85, (m) => m.push(m.popMany(1))], // TUPLE1
  [0x86, (m) => m.push(m.popMany(2))], // TUPLE2
  [0x87, (m) => m.push(m.popMany(3))], // TUPLE3
  [ascii('t'), (m) => m.push(m.popToMark())], // TUPLE
  [ascii(']'), (m) => m.push([])], // EMPTY_LIST
  [ascii('a'), (m) => m.append(m.popMany(1))], // APPEND
  [ascii('e'), (m) => m.append(m.popToMark())], // APPENDS
  [ascii('}'), (m) => m.push(new Map())], // EMPTY_DICT
  [ascii('s'), (m) => m.setItems(m.popMany(2))], // SETITEM
  [ascii('u'), (m) => m.setItems(m.popToMark())], // SETITEMS
  // The memo.
  [ascii('q'), (m) => m.remember(m.uint(1))], // BINPUT
  [ascii('r'), (m) => m.remember(m.uint(4))], // LONG_BINPUT
  [0x94, (m) => m.remember(undefined)], // MEMOIZE
  [ascii('h'), (m) => m.recall(m.uint(1))], // BINGET
  [ascii('j'), (m) => m.recall(m.uint(4))], // LONG_BINGET
  // Objects.
  [ascii('c'), (m) => m.pushGlobal(m.line(), m.line())], // GLOBAL
  [0x93, (m) => m.pushGlobal(...m.popTwoStrings())], // STACK_GLOBAL
  [ascii('R'), (m) => m.reduce()],
  [ascii('b'), (m) => m.ignoreState()], // BUILD
  [ascii('Q'), (m) => m.push(m.persistent(m.pop()))], // BINPERSID
]);

/** The stack machine that the opcodes are written for. */
class Machine {
  position: number;
  readonly #bytes: Buffer;
  readonly #host: PickleHost;
  #stack: Value[] = [];
  /** The stacks below each open mark. */
  readonly #marks: Value[][] = [];
  readonly #memo = new Map<number, Value>();

  constructor(bytes: Buffer, start: number, host: PickleHost) {
    this.#bytes = bytes;
    this.position = start;
    this.#host = host;
  }

  error(reason: CheckpointReason, seen: string): CheckpointError {
    return this.#host.blame(reason, `${seen}, before byte ${this.position} of the pickle.`);
  }

  malformed(seen: string): CheckpointError {
    return this.error('pickle_malformed', seen);
  }

  take(byteLength: number): Buffer {
    const end = this.position + byteLength;
    if (end > this.#bytes.length) throw this.error('truncated', `The pickle ends at byte ${this.#bytes.length}`);
    const bytes = this.#bytes.subarray(this.position, end);
    this.position = end;
    return bytes;
  }

  uint(byteLength: number): number {
    return this.take(byteLength).readUIntLE(0, byteLength);
  }

  text(byteLength: number): string {
    return this.take(byteLength).toString('utf8');
  }

  line(): string {
    const end = this.#bytes.indexOf('\n', this.position);
    const text = this.text((end < 0 ? this.#bytes.length : end) - this.position);
    this.take(1);
    return text;
  }

  push(value: Value): void {
    this.#stack.push(value);
  }

  pop(): Value {
    const value = this.#stack.pop();
    if (value === undefined) throw this.malformed('A value is missing on the stack');
    return value;
  }

  popMany(count: number): Value[] {
    if (this.#stack.length < count) throw this.malformed(`${count} values are missing on the stack`);
    return this.#stack.splice(-count);
  }

  popTwoStrings(): [string, string] {
    const [module, name] = this.popMany(2);
    if (typeof module !== 'string' || typeof name !== 'string') throw this.malformed('A global has no name');
    return [module, name];
  }

  mark(): void {
    this.#marks.push(this.#stack);
    this.#stack = [];
  }

  popToMark(): Value[] {
    const below = this.#marks.pop();
    if (!below) throw this.malformed('A mark is missing');
    const values = this.#stack;
    this.#stack = below;
    return values;
  }

  append(items: readonly Value[]): void {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) throw this.malformed('Items are appended to what is no list');
    for (const item of items) list.push(item);
  }

  setItems(items: readonly Value[]): void {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw this.malformed('Items are set on what is no dict');
    for (let at = 0; at < items.length; at += 2) dict.set(items[at] as Value, items[at + 1] as Value);
  }

  /** @param index undefined: the next free one */
  remember(index: number | undefined): void {
    const value = this.#stack.at(-1);
    if (value === undefined) throw this.malformed('There is nothing to remember');
    this.#memo.set(index ?? this.#memo.size, value);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.malformed(`Nothing was remembered under ${index}`);
    this.push(value);
  }

  pushGlobal(module: string, name: string): void {
    const path = `${module}.${name}`;
    const found = this.#host.globalOf(path);
    if (!found) throw this.error('unknown_global', `The pickle imports ${JSON.stringify(path)}`);
    this.push(found);
  }

  reduce(): void {
    const [callable, args] = this.popMany(2) as [Value, Value];
    const built = callable instanceof Global && Array.isArray(args) ? callable.build(args) : undefined;
    if (built === undefined) throw this.malformed(`${kindOf(callable)} is called with arguments that it does not take`);
    this.push(built);
  }

  /** Attributes of a dict or a tensor (a state dict's `_metadata`) say nothing that is needed. */
  ignoreState(): void {
    const [object] = this.popMany(2) as [Value, Value];
    this.push(object);
  }

  persistent(id: Value): Value {
    return this.#host.persistentLoad(id);
  }

  checkProtocol(protocol: number): void {
    if (protocol < 2 || protocol > 5) throw this.malformed(`The pickle has protocol ${protocol}`);
  }
}

/** Little-endian two's complement. */
function longOf(bytes: Buffer): number | bigint {
  const unsigned = bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  const value = BigInt.asIntN(bytes.length * 8, unsigned);
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
