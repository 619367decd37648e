import { isasOf } from '../src/engines/choose.js';
import type { EngineName, EngineSpec, IsaChoice, Precision } from '../src/engines/engine.js';
import { startEngine } from '../src/engines/process.js';
import { type Contender, type PythonEngineName, pythonEngines, startPythonEngine } from './python-engine.js';

/** An engine in one precision, and of the native one perhaps with an instruction set that is forced. */
export interface Entry {
  readonly engine: EngineName | PythonEngineName;
  readonly precision: Precision;
  readonly isa: IsaChoice;
}

/** What to measure, and with what. */
export interface Selection {
  readonly engines: readonly EngineName[];
  readonly precisions: readonly Precision[];
  /** Of the native engine, each in the precisions that it computes in. */
  readonly isas: readonly (IsaChoice | 'all')[];
  readonly python: string | undefined;
}

/** onnxruntime has float32 alone, the Python engines bfloat16 too. */
export function entriesOf({ engines, precisions, isas, python }: Selection): Entry[] {
  const entries: Entry[] = [];
  for (const engine of engines) {
    for (const precision of precisions) {
      const ofPrecision: readonly IsaChoice[] = isasOf[precision];
      const chosen = isas.includes('all') ? ofPrecision : isas.filter((isa) => isa !== 'all');
      const own = chosen.filter((isa) => isa === 'auto' || ofPrecision.includes(isa));
      if (engine === 'native') entries.push(...own.map((isa) => ({ engine, precision, isa })));
      else if (precision === 'fp32') entries.push({ engine, precision, isa: 'auto' });
    }
  }
  for (const engine of python === undefined ? [] : pythonEngines) {
    for (const precision of precisions) {
      if (precision !== 'bf16-classifier') entries.push({ engine, precision, isa: 'auto' });
    }
  }
  return entries;
}

/** What runs, and what its name has besides the entry's: an instruction set or a version. */
export interface Started extends Contender {
  readonly detail: string;
}

/**
 * @param model the builder's name, weights the file of `spec`: for the Python engines
 * @throws Error that says why it does not run here
 */
export async function startEntry(
  { engine, precision, isa }: Entry,
  spec: EngineSpec,
  { python, model, weights }: { readonly python: string | undefined; readonly model: string; readonly weights: string },
): Promise<Started> {
  if (engine === 'native' || engine === 'onnxruntime' || engine === 'tfjs') {
    const running = await startEngine({ ...spec, precision, isa }, { engine });
    const { info } = running;
    return {
      detail: info.isa ?? '',
      pid: running.pid,
      run: (pixels, n) => running.run(pixels, n),
      close: () => running.close(),
    };
  }
  const running = await startPythonEngine(python ?? 'python3', engine, {
    ...{ model, weights, precision, threads: spec.threads },
  });
  return { ...running, detail: running.version };
}
