import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Precision } from '../src/engines/engine.js';

export const pythonEngines = ['torch', 'torch-compiled', 'openvino', 'ncnn'] as const;
export type PythonEngineName = (typeof pythonEngines)[number];

/** An engine that bench/engines.ts can measure: ours, or one of python-engine.py. */
export interface Contender {
  readonly pid: number | undefined;
  run(pixels: Uint8Array, n: number): Promise<{ readonly logits: ArrayLike<number>; readonly computeMs: number }>;
  close(): Promise<void>;
}

/** @throws Error when that Python lacks the engine's package; its own words are on stderr */
export async function startPythonEngine(
  python: string,
  engine: PythonEngineName,
  {
    model,
    weights,
    threads,
    precision,
  }: { readonly model: string; readonly weights: string; readonly threads: number; readonly precision: Precision },
): Promise<Contender & { readonly version: string }> {
  const program = fileURLToPath(new URL('../../bench/python-engine.py', import.meta.url));
  const child = spawn(python, ['-W', 'ignore', program, engine, model, weights, String(threads), precision], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const answer = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`${python} ended without an answer from ${engine}`);
    return JSON.parse(value as string) as { version: string; ms: number; logits: number[] };
  };
  const { version } = await answer();
  const pixelsFile = `${weights}.${engine}-${precision}.u8`;
  return {
    version,
    pid: child.pid,
    async run(pixels, n) {
      await writeFile(pixelsFile, pixels);
      child.stdin.write(`run ${n} ${pixelsFile}\n`);
      const { ms, logits } = await answer();
      return { logits, computeMs: ms };
    },
    async close() {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}
