import { serveFakeEngine } from './fake-engine.js';

serveFakeEngine((_, pipe) => pipe.write('terminate called after throwing an instance of std::bad_alloc\n'));
