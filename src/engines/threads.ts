import type { Layered } from '../network/layer.js';
import { multiplyAdds } from '../network/shapes.js';

/**
 * What a thread should have to do of one picture, in multiply-adds: about half a millisecond. With less, waking a second
 * thread and waiting for it at each layer takes longer than it saves, at batch 1 as at 16: a picture of the embedded
 * network (39 M) costs 0.31 ms of CPU alone and 0.21 ms in a batch by one thread, 0.65 and 0.30 ms by two, which are
 * missing for decoding then; from 150 M on two are not slower.
 */
const multiplyAddsOfThread = 1e8;

/** How many of the threads that an engine may have are of use to it; at least 1. */
export function usefulThreads(network: Layered, inputSize: number, allowed: number): number {
  return Math.min(allowed, Math.max(1, Math.floor(multiplyAdds(network, inputSize) / multiplyAddsOfThread)));
}
