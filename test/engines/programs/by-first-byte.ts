/**
 * An engine's process that does with a run what the first byte of a picture says: `acts` below. Any other picture is answered
 * with its first byte as the first logit. With STARTS_FILE in its environment it ends at its start unless READY is the text
 * of that file.
 */
import { readFileSync } from 'node:fs';
import { writeMessage } from '../../../src/engines/protocol.js';
import { ready, serveFakeEngine } from './fake-engine.js';

const gate = process.env.READY_FILE;
if (gate !== undefined && readFileSync(gate, 'utf8') !== 'ready') process.exit(4);

let classes = 0;

serveFakeEngine(
  ({ id, n, pixels }, pipe) => {
    const pictureBytes = pixels.byteLength / n;
    const first = Array.from({ length: n }, (_, at) => pixels[at * pictureBytes] as number);
    if (first.includes(251)) return; // It hangs.
    if (first.includes(252)) process.kill(process.pid, 'SIGSEGV');
    if (first.includes(253)) process.exit(7);
    const logits = new Float32Array(n * classes);
    for (const [at, value] of first.entries()) logits[at * classes] = value === 254 ? Number.NaN : value;
    writeMessage(pipe, { type: 'result', id: first.includes(255) ? id + 1 : id, computeMs: 1, logits });
  },
  (start, pipe) => {
    classes = start.spec.classes;
    ready(start, pipe);
  },
);
