import { beginInput } from './stand-in.js';

beginInput();
process.once('message', () => {});
setImmediate(() => process.abort());
