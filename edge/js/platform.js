// What every part of a worker needs of the platform: Rust in synchronous turns, the time, the log, bodies,
// and objects that are reached in time. Nothing here decides.
//
// If a turn panics or traps, the wasm instance is lost; `rust()` notices and starts a new one.

import * as meter from './meter.js';

export { meter };

// Only the worker that decides has use for how far the clock was moved.
const clocked = /** @type {{ moveClock?: (offset_ms: bigint) => void }} */ (meter);

// The first functions of a panic's stack are the standard library's; ten would hide who called.
Error.stackTraceLimit = 50;

// Whoever waits longer for an object is told to try again: it may be gone.
const HOME_WAIT_MS = 1000;
// Whoever is on the way to a Redis waits longer: it may sync its disk but once a second.
export const REDIS_WAIT_MS = 3000;
// Where processes that share one process's homes call them.
export const CALL_PATH = '/internal/contact';
// The object that keeps how far the clock was moved; no project can have this name.
const CLOCK = '~clock';
// How old that may be when something is decided.
const FOLLOW_MS = 100;

// A panic or a trap ends an instance; the next one has another number.
export const life = { criticalError: false, instanceId: 0 };
let configuration;
let configured = false;
// How far the clock was moved, for tests and demonstrations; see `testing.js`.
let offset_ms = 0;
let followed_at = -Infinity;

/**
 * A turn of Rust.
 * @template T
 * @param {() => T} turn
 * @returns {T}
 */
export function rust(turn) {
  if (life.criticalError) {
    meter.__wbg_reset_state();
    life.criticalError = false;
    life.instanceId++;
    configured = false;
    // Whoever comes next may be a request that the lost instance has begun.
    if (configuration) configure(configuration);
  }
  try {
    return turn();
  } catch (error) {
    // What Rust refuses is a text. Whatever else comes out has ended a turn in its midst, not only a panic: V8 reports a
    // stack that overflows as a RangeError.
    if (typeof error !== 'string') {
      life.criticalError = true;
      log('a turn panicked', error.stack);
    }
    throw error;
  }
}

export const isConfigured = () => configured && !life.criticalError;

// Configures the instance by a turn of Rust, and in the same way each that follows it.
export function configure(turn) {
  rust(() => {
    // Where an instance was lost before, that has happened now.
    if (configured) return;
    turn();
    // The homes are told the time only; they have no use for how far it was moved.
    if (offset_ms > 0) clocked.moveClock?.(BigInt(offset_ms));
    configuration = turn;
    configured = true;
  });
}

// The meter's time, in milliseconds since the epoch.
export const nowMs = () => Date.now() + offset_ms;
export const now = () => BigInt(nowMs());

// The platform's time, which is the same unless the meter's clock was moved.
export const wall = () => Date.now();
export const toWall = at => Number(at) - offset_ms;

export function moveClock(to_ms) {
  if (to_ms <= offset_ms) return;
  offset_ms = to_ms;
  if (configured) rust(() => clocked.moveClock?.(BigInt(offset_ms)));
}

// How far the clock was moved, as the one object knows it that keeps it; `to_ms` moves it on. `home` finds objects.
export const keptClock = (home, to_ms) => home(CLOCK).clock(to_ms);

// Takes over how far the clock was moved. Who calls does not go on before that is known.
export async function follow(home) {
  if (wall() - followed_at < FOLLOW_MS) return;
  moveClock(await keptClock(home, 0));
  followed_at = wall();
}

// What jitter is drawn from.
export const seed = () => crypto.getRandomValues(new BigUint64Array(1))[0];

// Counts a body while it streams, which ends with a `BodyError` if it is longer than bytes_max or cannot be read.
export function limited(body, bytes_max, failed) {
  const reader = body.getReader();
  let length = 0;
  const end = (controller, code) => {
    const error = new BodyError(code);
    failed(error);
    controller.error(error);
  };
  return new ReadableStream({
    async pull(controller) {
      let piece;
      try {
        piece = await reader.read();
      } catch {
        return end(controller, 'bad_request');
      }
      if (piece.done) return controller.close();
      length += piece.value.byteLength;
      if (length <= bytes_max) return controller.enqueue(piece.value);
      end(controller, 'body_too_large');
      await reader.cancel().catch(() => {});
    },
    cancel: reason => reader.cancel(reason),
  });
}

export function log(message, error) {
  console.error(JSON.stringify({ message, error: String(error?.message ?? error) }));
}

// What a call to an object comes to; one that is not answered in time is a failure like any other.
export async function inTime(env, call) {
  // Benchmarks simulate a home in another place.
  if (env.METER_TEST_HOME_DELAY_MS > 0) await scheduler.wait(Number(env.METER_TEST_HOME_DELAY_MS));
  const late = scheduler.wait(HOME_WAIT_MS).then(() => { throw new Error('the home did not answer in time'); });
  return Promise.race([call(), late]);
}

// A service binding where there is one, else the address of the environment.
export function peer(env, binding, address) {
  return env[binding]
    ? { fetch: (path, init) => env[binding].fetch('http://peer' + path, init) }
    : { fetch: (path, init) => fetch(env[address].replace(/\/$/, '') + path, init) };
}

// Whoever has not sent a short body by then will not.
const BODY_WAIT_MS = 10000;

// The body as text, or undefined if it is longer than bytes_max, whatever its head announced. Throws a `BodyError`
// where it does not come.
export async function bodyText(request, bytes_max) {
  if (!request.body) return '';
  let timer = /** @type {number | null} */ (null);
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new BodyError('request_timeout')), BODY_WAIT_MS);
  });
  try {
    return await Promise.race([collected(request, bytes_max), late]);
  } catch (error) {
    throw error instanceof BodyError ? error : new BodyError('bad_request');
  } finally {
    clearTimeout(timer);
  }
}

// A body that could not be read. Its message is the code of the answer.
export class BodyError extends Error {}

async function collected(request, bytes_max) {
  // Whoever announces a length can send no more than that.
  if (request.headers.has('content-length')) return request.text();
  const chunks = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > bytes_max) return undefined;
    chunks.push(chunk);
  }
  return new Blob(chunks).text();
}
