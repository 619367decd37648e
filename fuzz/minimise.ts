/**
 * Leaves out what can be left out: halves first, then ever smaller pieces (Zeller's ddmin without its complements).
 * @param fails whether an input still shows the fault
 * @param mostRuns of `fails`
 */
export async function minimise(
  input: Buffer,
  fails: (input: Buffer) => Promise<boolean>,
  mostRuns: number,
): Promise<Buffer> {
  let smallest = input;
  let runs = 0;
  const tries = async (candidate: Buffer): Promise<boolean> => {
    if (runs++ >= mostRuns || !(await fails(candidate))) return false;
    smallest = candidate;
    return true;
  };
  for (
    let size = Math.ceil(input.length / 2);
    size >= 1 && runs < mostRuns;
    size = size === 1 ? 0 : Math.ceil(size / 2)
  ) {
    for (let at = 0; at < smallest.length && runs < mostRuns; ) {
      const shorter = Buffer.concat([smallest.subarray(0, at), smallest.subarray(at + size)]);
      if (!(await tries(shorter))) at += size;
    }
  }
  return smallest;
}
