// What every part of the worker needs of the platform: Rust in synchronous turns, the time, the log,
// and answers. Nothing here waits or decides.
//
// If a turn panics, the wasm instance is lost; `rust()` notices and starts a new one.

import * as meter from './meter.js';

export { meter };

// A panic ends an instance; the next one has another number.
export const life = { criticalError: false, instanceId: 0 };
let configured = false;
// How far the clock was moved, for tests and demonstrations; see `testing.js`.
let offset_ms = 0;

export function rust(turn) {
  if (life.criticalError) {
    meter.__wbg_reset_state();
    life.criticalError = false;
    life.instanceId++;
    configured = false;
  }
  try {
    return turn();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) {
      life.criticalError = true;
      log('a turn panicked', error.stack);
    }
    throw error;
  }
}

export const isConfigured = () => configured && !life.criticalError;

export function configure(env, cf) {
  if (isConfigured()) return;
  rust(() => {
    if (configured) return;
    meter.configure(
      env.METER_KEY_SECRETS ?? '', env.METER_SIGNING_KEYS ?? '', env.METER_ROUTES ?? '',
      [env.METER_REGION, cf?.continent, env.METER_SUB_HOMES, env.METER_BILL, env.METER_SHADOW].map(text => text ?? '').join('\n'),
      crypto.getRandomValues(new Uint32Array(4)),
    );
    if (offset_ms > 0) meter.moveClock(BigInt(offset_ms));
    configured = true;
  });
}

// The meter's time, in milliseconds since the epoch.
export const nowMs = () => Date.now() + offset_ms;
export const now = () => BigInt(nowMs());

// The platform's time, which is the same unless the meter's clock was moved.
export const wall = () => Date.now();
export const toWall = at => Number(at) - offset_ms;

export function moveClock(by_ms) {
  if (by_ms <= offset_ms) return;
  offset_ms = by_ms;
  if (configured) rust(() => meter.moveClock(BigInt(offset_ms)));
}

// What jitter is drawn from.
export const seed = () => crypto.getRandomValues(new BigUint64Array(1))[0];

// A Durable Object's SQL as Rust has it: the texts of a statement's rows, row by row.
export const texts = sql => ({ exec: (statement, values) => [...sql.exec(statement, ...values).raw()].flat().map(String) });

export function log(message, error) {
  console.error(JSON.stringify({ message, error: String(error?.message ?? error) }));
}

export function answer(step) {
  return new Response(step.body, { status: step.status, headers: step.headers });
}

export const failure = code => answer(JSON.parse(rust(() => meter.failure(code))));

// A service binding where there is one, else the address of the environment.
export function peer(env, binding, address) {
  return env[binding]
    ? { fetch: (path, init) => env[binding].fetch('http://peer' + path, init) }
    : { fetch: (path, init) => fetch(env[address].replace(/\/$/, '') + path, init) };
}

// The body as text, or undefined if it is longer than bytes_max, whatever its head announced.
export async function bodyText(request, bytes_max) {
  if (!request.body) return '';
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
