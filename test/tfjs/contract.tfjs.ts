import { startEngine } from '../../src/engines/process.js';
import { testEngineContract } from '../engines/contract.js';

testEngineContract({
  name: 'tfjs',
  tolerance: 1e-5,
  residual: true,
  start: (spec) => startEngine(spec, { engine: 'tfjs' }),
});
