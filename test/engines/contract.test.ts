import { startEngine } from '../../src/engines/process.js';
import { type EngineUnderTest, testEngineContract } from './contract.js';

const engines: readonly EngineUnderTest[] = [
  { name: 'onnxruntime', tolerance: 1e-5, start: (spec) => startEngine(spec, { engine: 'onnxruntime' }) },
];

for (const engine of engines) testEngineContract(engine);
