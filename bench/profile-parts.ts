/** A CPU profile as V8 writes it (Profiler.Profile of the Chrome DevTools protocol), as far as it is read here. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
    readonly children?: readonly number[];
  }[];
  /** Microseconds of the monotonic clock. */
  readonly startTime: number;
  /** The node that was at work in each sample. */
  readonly samples: readonly number[];
  /** Microseconds from the sample before. */
  readonly timeDeltas: readonly number[];
}

/** The first row whose pattern is in a frame's address gives the frame's part. */
const rows: readonly (readonly [part: string, url: RegExp])[] = [
  ['logging (pino)', /node_modules\/(pino|sonic-boom|thread-stream|quick-format|safe-stable)|src\/logging/],
  ['metrics (prom-client)', /node_modules\/prom-client|src\/(registry-)?metrics/],
  ['fastify', /node_modules\/(@?fastify|find-my-way|avvio|secure-json|fast-|ret|light-my-request|toad-cache)/],
  ['sharp, in JavaScript', /node_modules\/sharp/],
  ['preprocessing', /src\/preprocessing/],
  ['batching', /src\/batching/],
  ['model registry', /src\/model-registry/],
  ['engine host', /src\/engines/],
  ['routes', /src\/(routes|app|errors)/],
  ['node: http', /node:_http|node:internal\/http/],
  ['node: sockets, streams, pipes', /node:(net|stream|internal\/(stream|streams|net|js_stream))/],
  ['node: timers', /node:(timers|internal\/timers)/],
  ['node: promises, ticks, async hooks', /node:(internal\/process\/task_queues|internal\/async_hooks|async_hooks)/],
  ['node: abort signals, events', /node:(internal\/(abort_controller|event_target)|events)/],
];

const builtIn: Readonly<Record<string, string>> = {
  '(garbage collector)': 'garbage collector',
  '(program)': "system calls and Node's C++",
  '(root)': "system calls and Node's C++",
};

/**
 * How the time of a thread between two moments divides among its parts, as shares of the samples that were not idle. A
 * function that no row knows (JSON.stringify, Buffer) counts for the one that called it.
 * @param fromUs @param toUs on the profile's clock
 */
export function sharesOf(profile: CpuProfile, fromUs: number, toUs: number): Map<string, number> {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map(profile.nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const parts = new Map<number, string | undefined>();
  const seen = new Map<string, number>();
  let total = 0;
  let at = profile.startTime;
  for (const [index, id] of profile.samples.entries()) {
    at += profile.timeDeltas[index] ?? 0;
    if (at < fromUs || at > toUs) continue;
    if (!parts.has(id)) parts.set(id, partOf(id));
    const part = parts.get(id);
    if (part === undefined) continue;
    seen.set(part, (seen.get(part) ?? 0) + 1);
    total++;
  }
  return new Map([...seen].map(([part, samples]) => [part, samples / total]));

  /** Undefined for idleness. */
  function partOf(leaf: number): string | undefined {
    for (let id: number | undefined = leaf; id !== undefined; id = parents.get(id)) {
      const { functionName, url } = nodes.get(id)?.callFrame ?? { functionName: '', url: '' };
      if (functionName === '(idle)') return undefined;
      const known = builtIn[functionName] ?? rows.find(([, pattern]) => pattern.test(url))?.[0];
      if (known !== undefined) return known;
    }
    return 'other';
  }
}
