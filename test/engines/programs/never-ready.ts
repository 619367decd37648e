import { serveFakeEngine } from './fake-engine.js';

serveFakeEngine(
  () => {},
  () => {},
);
