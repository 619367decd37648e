/** Fetches the file of a URL into a folder, in a process of its own. Sends each log line to its parent, and the path. */
import { fetchWeights } from '../../src/weights/hub.js';

const [url = '', folder = ''] = process.argv.slice(2);
const path = await fetchWeights(url, {
  folder,
  offline: false,
  log: (line) => process.send?.(line),
  patience: { pollMs: 5 },
});
process.send?.(path);
process.disconnect?.();
