/**
 * Taken in by `node --import` before a program: profiles its main thread from the start, and writes
 * `$PROFILE_DIR/PID.cpuprofile` when it ends. A worker thread leaves an empty file `TID.worker`, so that its CPU time can be
 * told from that of other threads.
 */
import { readlinkSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { basename, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const folder = process.env.PROFILE_DIR ?? '.';
/** Finer samples cost the program more than they tell. */
const samplingMicroseconds = 500;

if (isMainThread) profile();
else writeFileSync(join(folder, `${basename(readlinkSync('/proc/thread-self'))}.worker`), '');

function profile(): void {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: samplingMicroseconds });
  session.post('Profiler.start');
  process.on('exit', () => {
    // A session of the own thread answers before post() returns.
    session.post('Profiler.stop', (error, result) => {
      if (error === null) writeFileSync(join(folder, `${process.pid}.cpuprofile`), JSON.stringify(result.profile));
    });
  });
}
