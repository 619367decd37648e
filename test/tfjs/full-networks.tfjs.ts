import { testFullNetworks } from '../full/full-networks.js';

testFullNetworks([{ engine: 'tfjs', tolerance: 1e-4 }]);
