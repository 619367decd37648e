import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { startEngine } from '../../src/engines/process.js';
import { type EngineUnderTest, testEngineContract } from './contract.js';

const engines: readonly EngineUnderTest[] = [
  {
    name: 'onnxruntime',
    tolerance: 1e-5,
    residual: true,
    start: (spec) => startEngine(spec, { engine: 'onnxruntime' }),
  },
  { name: 'native', tolerance: 1e-5, residual: false, start: (spec) => startEngine(spec, { engine: 'native' }) },
];

for (const engine of engines) {
  if (engine.name === 'native' && !isAddonBuilt()) {
    console.log('native: its addon is not built, so that it is not tested (native/build.mjs says why)');
  } else testEngineContract(engine);
}
