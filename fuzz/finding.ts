/** What must not happen, whatever the input is. The message is the same for the same fault, so that it is told once. */
export class Finding extends Error {
  override readonly name = 'Finding';
}

/** What an input came to. */
export interface Outcome {
  /** For the report: `400 bad_json`, `CheckpointError zip_corrupt`. One of a few dozens. */
  readonly name: string;
  /** Finer than the name: inputs that reach a new one are kept, and others are made of them. */
  readonly shape: string;
}

/** A text without what differs from input to input: numbers, bytes and what is quoted. */
export function shapeOf(text: string): string {
  return text
    .replace(/"(?:[^"\\]|\\.)*"/g, '""')
    .replace(/\b[0-9a-f]{2}(?: [0-9a-f]{2})+\b/g, '00')
    .replace(/\d+/g, '0')
    .slice(0, 120);
}

/** @throws Finding where an error is none that is meant for the user */
export function refusal(error: unknown, allowed: readonly string[]): Outcome {
  const { name = typeof error, message = String(error), stack = '' } = error as Partial<Error>;
  if (allowed.includes(name)) {
    const { reason, code } = error as { reason?: string; code?: string };
    return { name: `${name} ${reason ?? code ?? ''}`.trim(), shape: `${name} ${shapeOf(withoutPath(message))}` };
  }
  const [, where = ''] = /\n\s+at (?:.*[/\\])?([\w.-]+\.js:\d+)/.exec(stack) ?? [];
  throw new Finding(`${name} escapes: ${shapeOf(message)} (${where})`, { cause: error });
}

function withoutPath(message: string): string {
  return message.replace(/^\/[^:]*: /, '');
}

/** @throws Finding where every object has a property that it had not before */
export function checkPrototypes(): void {
  for (const [name, prototype, count] of prototypes) {
    const now = Reflect.ownKeys(prototype).length;
    if (now !== count) throw new Finding(`${name}.prototype has ${now} properties instead of ${count}`);
  }
}

const prototypes = Object.entries({ Object, Array, Function, String, Map }).map(
  ([name, { prototype }]) => [name, prototype, Reflect.ownKeys(prototype).length] as const,
);
