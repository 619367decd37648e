import type { ChildProcess } from 'node:child_process';

const running = new Set<ChildProcess>();

/**
 * Ends a child with this process, whatever it is doing: one that hangs would not notice that its pipe was closed. (When
 * this process is killed itself, a child ends by its pipe, behind what it is doing.)
 */
export function killOnExit(child: ChildProcess): void {
  if (running.size === 0) process.on('exit', killAll);
  running.add(child);
  const forget = () => {
    running.delete(child);
    if (running.size === 0) process.off('exit', killAll);
  };
  child.once('exit', forget).once('error', forget);
}

function killAll(): void {
  for (const child of running) child.kill('SIGKILL');
}
