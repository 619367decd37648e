import { serveFakeEngine } from './fake-engine.js';

/** Never ready. */
serveFakeEngine(
  () => {},
  () => console.log(process.pid),
);
