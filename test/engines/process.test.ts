import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, mock, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { EngineCondition } from '../../src/engines/engine.js';
import { stampOf } from '../../src/engines/file-stamp.js';
import { isAddonBuilt } from '../../src/engines/native/addon.js';
import { type EngineProcess, type EngineProcessOptions, startEngine } from '../../src/engines/process.js';
import { EngineLostError, ServiceError } from '../../src/errors.js';
import { randomPixels, relativeError, tinySpec } from './test-networks.js';

const folder = mkdtempSync(join(tmpdir(), 'vgg-serve-process-'));
after(() => rmSync(folder, { recursive: true }));
const spec = tinySpec(folder);
const pixels = randomPixels(2, spec.inputSize);

const program = (name: string) => new URL(`./programs/${name}.js`, import.meta.url);

/** Closes the engine whatever happens; `restarts` are the reasons so far. */
async function withEngine(
  options: EngineProcessOptions,
  work: (engine: EngineProcess, restarts: readonly string[]) => Promise<void>,
): Promise<void> {
  const restarts: string[] = [];
  const engine = await startEngine(spec, { ...options, onRestart: (reason) => restarts.push(reason) });
  try {
    await work(engine, restarts);
  } finally {
    await engine.close();
  }
}

function signalEngine(engine: EngineProcess, signal: NodeJS.Signals): void {
  process.kill(engine.pid ?? Number.NaN, signal);
}

function serviceError(code: string, cause?: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof ServiceError, String(error));
    assert.equal(error.code, code);
    if (cause) assert.match((error.cause as Error).message, cause);
    return true;
  };
}

/** The run was in a process that was lost. */
function lost(cause: RegExp, { wasKilled = false } = {}): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof EngineLostError, String(error));
    assert.equal(error.wasKilled, wasKilled);
    return serviceError('engine_failed', cause)(error);
  };
}

/** A name of each condition that the engine is in, one after the other. */
function conditionsOf(engine: EngineProcess): string[] {
  const seen: string[] = [];
  engine.watch((condition) => seen.push(inWords(condition)));
  return seen;
}

function inWords(condition: EngineCondition): string {
  if (condition.state === 'down') return `down, attempt ${condition.attempt}: ${condition.reason}`;
  return condition.state === 'failed' ? `failed: ${condition.reason}` : condition.state;
}

/** Waits, as long as the runner allows, for a process to be gone; one that nobody has reaped yet counts as gone. */
async function untilGone(pid: number): Promise<void> {
  while (isRunning(pid)) await delay(10);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== 'linux') return true;
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** The same bytes under the same name, and yet another file. */
function replaced(path: string): void {
  copyFileSync(path, `${path}.new`);
  renameSync(`${path}.new`, path);
}

function writtenOver(path: string): void {
  writeFileSync(path, readFileSync(path).fill(1), { flag: 'r+' });
}

describe('EngineProcess.run(): when the process', () => {
  test('is killed in the middle, the run is lost, and the next one waits for another process', async () => {
    await withEngine({}, async (engine, restarts) => {
      const { logits } = await engine.run(pixels, 2);
      const { pid } = engine;
      const conditions = conditionsOf(engine);
      signalEngine(engine, 'SIGSTOP'); // so that the run is certainly not over when the kill comes
      const answer = engine.run(pixels, 2);
      await new Promise(setImmediate);
      signalEngine(engine, 'SIGKILL');
      await assert.rejects(answer, lost(/^killed by SIGKILL$/, { wasKilled: true }));
      assert.deepEqual((await engine.run(pixels, 2)).logits, logits);
      assert.notEqual(engine.pid, pid);
      assert.deepEqual(restarts, ['killed by SIGKILL']);
      assert.deepEqual(conditions, ['up', 'down, attempt 1: killed by SIGKILL', 'up']);
    });
  });

  test('is killed between two runs, the next one finds another', async () => {
    await withEngine({}, async (engine, restarts) => {
      const { pid } = engine;
      signalEngine(engine, 'SIGKILL');
      await untilGone(pid as number);
      while (restarts.length === 0) await delay(1);
      await engine.run(pixels, 2);
      assert.notEqual(engine.pid, pid);
      assert.deepEqual(restarts, ['killed by SIGKILL']);
    });
  });

  test('hangs, it is killed after runTimeoutMs, and another one answers the next run', async () => {
    await withEngine({ runTimeoutMs: 60_000 }, async (engine, restarts) => {
      signalEngine(engine, 'SIGSTOP');
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const answer = engine.run(pixels, 2);
        await new Promise(setImmediate);
        mock.timers.tick(60_000);
        await assert.rejects(answer, lost(/^no answer to run within 60000 ms$/));
      } finally {
        mock.timers.reset();
      }
      await engine.run(pixels, 2);
      assert.deepEqual(restarts, ['no answer to run within 60000 ms']);
    });
  });

  test('dies in every run, it gives up after maxFailures, and later runs are told why', async () => {
    await withEngine({ program: program('dies-in-run'), maxFailures: 3 }, async (engine, restarts) => {
      const conditions = conditionsOf(engine);
      for (let run = 0; run < 3; run++) await assert.rejects(engine.run(pixels, 2), lost(/killed by SIGSEGV/));
      const reason = 'it was lost 3 times in a row, the last time: killed by SIGSEGV';
      await assert.rejects(engine.run(pixels, 2), {
        code: 'model_not_ready',
        message: `The engine has given up: ${reason}`,
      });
      assert.equal(restarts.length, 2);
      assert.deepEqual(conditions, [
        'up',
        'down, attempt 1: killed by SIGSEGV',
        'up',
        'down, attempt 2: killed by SIGSEGV',
        'up',
        `failed: ${reason}`,
      ]);
    });
  });

  test('does not start the next three times, a run waits for the fourth', async () => {
    const env = { STARTS_FILE: join(folder, 'starts'), READY_AT: '1,5' };
    await withEngine({ program: program('ready-at'), env }, async (engine, restarts) => {
      const conditions = conditionsOf(engine);
      signalEngine(engine, 'SIGKILL');
      while (restarts.length === 0) await delay(1);
      await engine.run(pixels, 2);
      assert.deepEqual(conditions, [
        'up',
        'down, attempt 1: killed by SIGKILL',
        'down, attempt 2: exited with code 3',
        'down, attempt 3: exited with code 3',
        'down, attempt 4: exited with code 3',
        'up',
      ]);
    });
  });

  test('does not start any more, one that is to try again by itself does so, and comes back', async () => {
    const env = { STARTS_FILE: join(folder, 'starts-again'), READY_AT: '1,4' };
    await withEngine({ program: program('ready-at'), env, maxFailures: 2, retryMs: 1 }, async (engine) => {
      const conditions = conditionsOf(engine);
      signalEngine(engine, 'SIGKILL');
      while (conditions.at(-1) !== 'up' || conditions.length === 1) await delay(1);
      await engine.run(pixels, 2);
      assert.equal(conditions.filter((condition) => condition.startsWith('failed')).length, 2);
    });
  });

  test('answers NaN or infinity, it is killed', async () => {
    for (const value of ['NaN', '-Infinity']) {
      const options = { program: program('answers-not-finite'), env: { LOGIT: value } };
      await withEngine(options, async (engine, restarts) => {
        const pid = engine.pid as number;
        await assert.rejects(engine.run(pixels, 2), lost(/^answered with logits that are NaN or infinite$/));
        assert.equal(restarts.length, 1);
        await untilGone(pid);
      });
    }
  });

  test('answers with a failure, it rejects with engine_failed and keeps the process', async () => {
    await withEngine({ program: program('fails-in-run') }, async (engine, restarts) => {
      const { pid } = engine;
      await assert.rejects(engine.run(pixels, 2), serviceError('engine_failed', /^out of memory$/));
      assert.equal(engine.pid, pid);
      assert.deepEqual(restarts, []);
    });
  });

  for (const [name, reason] of [
    ['answers-another-run', /broke the protocol: result in answer to run 1/],
    ['answers-too-little', /broke the protocol: result in answer to run 1/],
    ['writes-text-to-the-pipe', /broke the protocol: a frame of the unknown type/],
  ] as const) {
    test(`${name.replaceAll('-', ' ')}, it is killed`, async () => {
      await withEngine({ program: program(name) }, async (engine, restarts) => {
        const pid = engine.pid as number;
        await assert.rejects(engine.run(pixels, 2), lost(reason));
        assert.match(restarts[0] ?? '', reason);
        assert.equal(restarts.length, 1);
        await untilGone(pid);
      });
    });
  }

  test('speaks unasked, it is killed', async () => {
    await withEngine({ program: program('speaks-unasked') }, async (engine, restarts) => {
      await engine.run(pixels, 2);
      while (restarts.length === 0) await delay(1);
      assert.deepEqual(restarts, ['broke the protocol: result without a question']);
    });
  });

  test('cannot be started again, the run waits until it can', async () => {
    const moved = join(folder, 'moved');
    const ownFolder = mkdtempSync(join(folder, 'own-'));
    const restarts: string[] = [];
    const engine = await startEngine(tinySpec(ownFolder), {
      maxFailures: 1_000_000,
      onRestart: (reason) => restarts.push(reason),
    });
    try {
      const { logits } = await engine.run(pixels, 2);
      renameSync(ownFolder, moved);
      signalEngine(engine, 'SIGKILL');
      while (restarts.length === 0) await delay(1);
      const answer = engine.run(pixels, 2);
      while (restarts.length < 2) await delay(1);
      assert.match(restarts[1] ?? '', /ENOENT/);
      renameSync(moved, ownFolder);
      assert.deepEqual((await answer).logits, logits);
    } finally {
      await engine.close();
    }
  });

  for (const engineName of ['native', 'onnxruntime'] as const) {
    const skip = engineName === 'native' && !isAddonBuilt() ? 'the native engine is not built' : false;

    test(`of ${engineName} is to be started again, and a file is another one by then: it gives up and names it`, {
      skip,
    }, async () => {
      for (const change of [replaced, writtenOver]) {
        const own = tinySpec(mkdtempSync(join(folder, 'own-')));
        const path = own.tensors[0]?.path as string;
        const engine = await startEngine(own, { engine: engineName });
        try {
          const conditions = conditionsOf(engine);
          await engine.run(pixels, 2);
          change(path);
          signalEngine(engine, 'SIGKILL');
          while (conditions.length < 3) await delay(1);
          await assert.rejects(engine.run(pixels, 2), (error: ServiceError) => {
            assert.equal(error.code, 'model_not_ready');
            assert.ok(error.message.includes(path), error.message);
            assert.match(error.message, /load the model again\.$/);
            return true;
          });
          assert.match(conditions[2] ?? '', /^failed: .*(is not the file that was|was written to since it was) loaded/);
        } finally {
          await engine.close();
        }
      }
    });

    test(`of ${engineName} opens a file that is not the one that it was told of: it does not start`, {
      skip,
    }, async () => {
      const own = tinySpec(mkdtempSync(join(folder, 'own-')));
      const path = own.tensors[0]?.path as string;
      const files = [await stampOf(path)];
      replaced(path);
      await assert.rejects(
        startEngine({ ...own, files }, { engine: engineName }),
        /EngineDiedError: .* is not the file that was loaded/,
      );
    });
  }

  test('is sent SIGINT, SIGTERM and SIGHUP, it goes on', async () => {
    await withEngine({}, async (engine, restarts) => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) signalEngine(engine, signal);
      await engine.run(pixels, 2);
      assert.deepEqual(restarts, []);
    });
  });
});

test('EngineProcess.run() with prepacked weights answers the same', async () => {
  const logitsWith = async (prepack: boolean) => {
    const engine = await startEngine({ ...spec, prepack }, { engine: 'onnxruntime' });
    try {
      return (await engine.run(pixels, 2)).logits;
    } finally {
      await engine.close();
    }
  };
  assert.ok(relativeError(await logitsWith(true), [...(await logitsWith(false))]) <= 1e-5);
});

test('EngineProcess.run() of pixels that are not n pictures throws RangeError and asks nothing', async () => {
  await withEngine({}, async (engine, restarts) => {
    const pictureBytes = spec.inputSize ** 2 * 3;
    const tooMany = spec.maxBatchSize + 1;
    await assert.rejects(engine.run(pixels, 1), RangeError);
    await assert.rejects(engine.run(new Uint8Array(0), 0), RangeError);
    await assert.rejects(engine.run(new Uint8Array(tooMany * pictureBytes), tooMany), RangeError);
    assert.deepEqual(restarts, []);
  });
});

describe('startEngine(): when the process', () => {
  test('ends at once, it rejects with the exit code, and log has had every line', async () => {
    const lines: string[] = [];
    await assert.rejects(
      startEngine(spec, { engine: 'onnxruntime', program: program('ends-at-start'), log: (line) => lines.push(line) }),
      /exited with code 3/,
    );
    assert.deepEqual(lines.sort(), ['complained', 'printed', 'twice']);
  });

  test('is ready in another precision than was asked for, it is killed', { skip: !isAddonBuilt() }, async () => {
    const asked = { ...spec, precision: 'bf16' } as const;
    await assert.rejects(
      startEngine(asked, { program: program('dies-in-run') }),
      /broke the protocol: ready in answer to start/,
    );
  });

  test('is not ready within startTimeoutMs, it rejects', async () => {
    await assert.rejects(
      startEngine(spec, { program: program('never-ready'), startTimeoutMs: 1 }),
      /no answer to (load|start) within 1 ms/,
    );
  });

  test('is not ready when the signal comes, it rejects and the process is gone', async () => {
    const abort = new AbortController();
    const started = startEngine(spec, {
      program: program('says-its-pid'),
      signal: abort.signal,
      log(line) {
        pid = Number(line);
        abort.abort();
      },
    });
    let pid = Number.NaN;
    await assert.rejects(started, /closed while it was starting/);
    assert.equal(isRunning(pid), false);
  });

  test('is to be started after the signal, it rejects and starts none', async () => {
    const reason = new Error('unloaded');
    const log = () => assert.fail('a process was started');
    await assert.rejects(
      startEngine(spec, { program: program('says-its-pid'), log, signal: AbortSignal.abort(reason) }),
      reason,
    );
  });

  test('is ready, the signal does nothing any more', async () => {
    const abort = new AbortController();
    await withEngine({ signal: abort.signal }, async (engine, restarts) => {
      abort.abort();
      await engine.run(pixels, 2);
      assert.deepEqual(restarts, []);
    });
  });

  test('says how long its first runs took', async () => {
    await withEngine({}, async ({ info }) => assert.ok((info.warmUpMs ?? 0) > 0));
  });

  test('cannot be made at all, it rejects with the reason of the system', async () => {
    const { execPath } = process;
    process.execPath = join(folder, 'no-node');
    try {
      await assert.rejects(startEngine(spec), /ENOENT/);
    } finally {
      process.execPath = execPath;
    }
  });
});

describe('EngineProcess.close()', () => {
  test('during a run lets it end, and then the process', async () => {
    const engine = await startEngine(spec);
    const pid = engine.pid as number;
    const { logits } = await engine.run(pixels, 2);
    const answer = engine.run(pixels, 2);
    const closed = engine.close();
    assert.deepEqual((await answer).logits, logits);
    await closed;
    assert.equal(isRunning(pid), false);
  });

  test('during a run that does not end kills after graceMs; the run rejects with shutting_down', async () => {
    const engine = await startEngine(spec, { graceMs: 1 });
    const pid = engine.pid as number;
    signalEngine(engine, 'SIGSTOP');
    const answer = assert.rejects(engine.run(pixels, 2), serviceError('shutting_down'));
    await engine.close();
    await answer;
    assert.equal(isRunning(pid), false);
  });

  test('after the process has died ends what was started in its place', async () => {
    const restarted: string[] = [];
    const engine = await startEngine(spec, { onRestart: (reason) => restarted.push(reason) });
    signalEngine(engine, 'SIGKILL');
    while (restarted.length === 0) await delay(1);
    await engine.close();
    assert.equal(isRunning(engine.pid as number), false);
  });

  test('while another process is being started kills it', async () => {
    const restarts: string[] = [];
    const engine = await startEngine(tinySpec(mkdtempSync(join(folder, 'own-'))), {
      program: program('ready-once'),
      onRestart: (reason) => restarts.push(reason),
    });
    signalEngine(engine, 'SIGKILL');
    while (restarts.length === 0) await delay(1);
    await engine.close();
    assert.deepEqual(restarts, ['killed by SIGKILL']);
  });

  test('while a restart waits does not wait for it', async () => {
    const engine = await startEngine(spec, { program: program('dies-in-run') });
    for (let run = 0; run < 2; run++) await assert.rejects(engine.run(pixels, 2), EngineLostError);
    await engine.close();
  });

  test('makes later runs reject with shutting_down, and may be called again', async () => {
    const engine = await startEngine(spec);
    await engine.close();
    await assert.rejects(engine.run(pixels, 2), serviceError('shutting_down'));
    await engine.close();
  });
});

test('the process ends when the program that started it is killed', async () => {
  const starter = spawn(process.execPath, [fileURLToPath(program('starts-engine')), JSON.stringify(spec), 'auto'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface(starter.stdout), 'line');
  const pid = Number(line);
  assert.equal(isRunning(pid), true);
  starter.kill('SIGKILL');
  await untilGone(pid);
});

test('the process leaves nothing in the home and temporary folders, where ONNX Runtime keeps its usage data', async () => {
  const home = mkdtempSync(join(folder, 'home-'));
  const starter = spawn(
    process.execPath,
    [fileURLToPath(program('starts-engine')), JSON.stringify(spec), 'onnxruntime'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { HOME: home, XDG_CACHE_HOME: home, TMPDIR: home },
    },
  );
  const [line] = await once(createInterface(starter.stdout), 'line');
  starter.kill('SIGKILL');
  await untilGone(Number(line));
  assert.deepEqual(readdirSync(home), []);
});
