/** The program of an engine's process, in a process that gets no more than 1 GiB more memory. */
import { limitMemory } from './limit-memory.js';

limitMemory(2 ** 30);
await import('../../../src/engines/child.js');
