import { testFullNetworks } from './full-networks.js';

testFullNetworks([
  { engine: 'onnxruntime', tolerance: 1e-4 },
  { engine: 'native', tolerance: 1e-5 },
]);
