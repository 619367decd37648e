/**
 * A process that fetches one file, for bench/pull.ts. Sends its parent `ready`, waits for a message, fetches, sends the
 * bytes that it has so far and at the end `fetched`, and lives until its parent ends it.
 */
import { once } from 'node:events';
import { fetchWeights } from '../src/weights/hub.js';

const [url = '', folder = ''] = process.argv.slice(2);
process.send?.('ready');
await once(process, 'message');
await fetchWeights(url, { folder, offline: false, onProgress: ({ receivedBytes }) => process.send?.(receivedBytes) });
process.send?.('fetched');
