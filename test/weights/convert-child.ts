import { readCheckpoint } from '../../src/weights/checkpoint.js';
import { asFloat32 } from '../../src/weights/convert.js';

/** Converts a checkpoint in a process of its own: `node convert-child.js CHECKPOINT CACHE`. */
const [path = '', cacheDir = ''] = process.argv.slice(2);
const checkpoint = await readCheckpoint(path);
await asFloat32(checkpoint, checkpoint.tensors, cacheDir);
process.disconnect?.();
