/**
 * Works on items with at most `limit` of them in progress, and yields the results in the order of the items. The first
 * failure ends it; what is in progress then ends unseen.
 */
export async function* inOrder<In, Out>(
  items: Iterable<In>,
  limit: number,
  work: (item: In) => Promise<Out>,
): AsyncGenerator<Out, void, undefined> {
  const running: Promise<Out>[] = [];
  for (const item of items) {
    const result = work(item);
    result.catch(() => {}); // Seen when its turn comes; until then it is not an unhandled rejection.
    running.push(result);
    if (running.length >= limit) yield await (running.shift() as Promise<Out>);
  }
  for (const result of running) yield await result;
}
