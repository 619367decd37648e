import { beginInput } from './stand-in.js';

beginInput();
setImmediate(() => {
  for (;;);
});
