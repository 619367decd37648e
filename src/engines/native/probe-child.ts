/** A program: prints what the native engine can do on this machine (Capabilities, as JSON), or why it does not load. */
import { buildCommand } from '../../addon-file.js';
import { isasOf } from '../choose.js';
import { precisions } from '../engine.js';
import { type Addon, loadAddon } from './addon.js';
import type { Capability } from './probe.js';

try {
  const addon = loadAddon();
  const found = precisions.map((precision) => [precision, capability(addon, precision)]);
  process.stdout.write(JSON.stringify(Object.fromEntries(found)));
} catch (error) {
  process.stderr.write((error as Error).message);
  process.exitCode = 1;
}

function capability({ precisions: runsHere }: Partial<Addon>, precision: (typeof precisions)[number]): Capability {
  if (runsHere === undefined) {
    // Of a build from before there were precisions.
    return precision === 'fp32' ? { isas: [] } : { why: `the build is older than the service: ${buildCommand}` };
  }
  const isas = isasOf[precision].filter((isa) => runsHere(isa)[precision] === true);
  return isas.length > 0 ? { isas } : { why: String(runsHere('')[precision]) };
}
