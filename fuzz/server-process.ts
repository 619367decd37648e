/** The whole server in a process of its own: says its address, and its memory when it is asked. Ends with its parent. */
import { parseConfig } from '../src/config.js';
import { startServer } from '../src/server.js';

process.on('disconnect', () => process.exit(0));
const config = parseConfig(
  ['--port', '0', '--timeout-ms', '2000'],
  { VGG_SERVE_ADMIN_TOKEN: 'the-token-of-the-fuzzer' },
  'serve',
);
const server = await startServer(config);
await server.loaded;
process.on('message', () => {
  globalThis.gc?.();
  process.send?.({ bytes: process.memoryUsage().rss });
});
process.send?.({ url: server.url });
