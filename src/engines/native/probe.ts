import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { IsaChoice, Precision } from '../engine.js';

/** What the native engine can do on this machine. */
export type Capabilities = Readonly<Record<Precision, Capability>>;

/** The instruction sets by which a precision is computed, or why it is not. */
export type Capability = { readonly isas: readonly IsaChoice[] } | { readonly why: string };

/**
 * Loads the addon in a process of its own, for one that is broken may take its process with it.
 * @throws Error that says why it cannot be loaded
 */
export async function probeNative(): Promise<Capabilities> {
  const program = fileURLToPath(new URL('./probe-child.js', import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [program]);
    return JSON.parse(stdout) as Capabilities;
  } catch (error) {
    const { signal, stderr = '', message } = error as Error & { signal?: string; stderr?: string };
    const reason = signal ? `its process was ended by ${signal}` : stderr.trim() || message;
    throw new Error(reason, { cause: error });
  }
}
