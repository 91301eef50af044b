// How the homes are reached: as objects in the worker beside this one, or in the process that holds them
// (METER_HOMES=remote), or in Redis (COUNTERS=redis).
//
// Where both places are set, COUNTERS says where homes are asked for first. One that has moved says so, and is asked for
// at the other place from then on.
//
// A process that holds them for others (METER_HOMES=serve) hands their calls on; see docs/protocol.md. Nothing here
// looks into what the calls say.

import { CALL_PATH, inTime, meter, rust, wall } from './platform.js';
import { inRedis } from './redis.js';
import { traceparent } from './traces.js';

const OBJECTS = 'durable_object', REDIS = 'redis';
// What a home replies that is at the other place.
const MOVED = '{"failed":"home_moved"}';
// Homes that are not where COUNTERS says.
const elsewhere = new Map();
const ELSEWHERE_MAX = 10000;

const usual = env => env.COUNTERS === REDIS ? REDIS : OBJECTS;

// Where this worker can look for homes.
export const places = env =>
  [(env.HOME || env.METER_HOMES === 'remote') && OBJECTS, env.REDIS_URL && REDIS].filter(Boolean);

// The object of that name, as something that has the class's methods, to a request or background turn; a call of a
// trace hands that on.
export function object(env, ctx, binding, name, place = usual(env), trace = '') {
  if (place === REDIS) return inRedis(env, ctx, name);
  if (env.METER_HOMES === 'remote') return methods((method, args) => remote(env, [binding, name, method, ...args], trace));
  const stub = env[binding].getByName(name);
  // The methods take it behind what they are told.
  return trace ? methods((method, args) => stub[method](...args, trace)) : stub;
}

const methods = call => new Proxy({}, { get: (_, method) => (...args) => call(method, args) });

async function remote(env, call, trace) {
  // Two calls that ask the same in the same second are two, by a last argument that no method takes.
  const body = JSON.stringify([...call, crypto.randomUUID()]);
  const signature = rust(() => meter.signCall(CALL_PATH, body, BigInt(wall())));
  const headers = { 'palveron-signature': signature };
  if (trace) headers.traceparent = trace;
  const response = await env.CENTER.fetch(new URL(CALL_PATH, 'http://homes'), { method: 'POST', headers, body });
  if (response.status !== 200) throw new Error(`the homes' process answered ${response.status}`);
  return (await response.json()).reply;
}

// Calls an object, wherever homes are asked for; one that does not answer in time is a failure like any other.
export const reachObject = (env, ctx, binding, name, call, trace = '') =>
  inTime(env, () => call(object(env, ctx, binding, name, OBJECTS, trace)));

// Calls a home or sub-home where it is, with the span of that call, if it has one.
/** @param {import('./traces.js').Span} [span] */
export async function reach(env, ctx, binding, name, call, span) {
  // Nothing stands between a Redis and isolates, and there each question has its own time, which Rust keeps.
  const home = name.split('/', 2).join('/');
  const at = place => place === REDIS
    ? call(object(env, ctx, 'HOME', home, REDIS))
    : reachObject(env, ctx, binding, name, call, span && traceparent(span));
  const place = elsewhere.get(home) ?? usual(env);
  const reply = await at(place);
  const other = place === REDIS ? OBJECTS : REDIS;
  if (reply !== MOVED || !places(env).includes(other)) return reply;
  if (elsewhere.size >= ELSEWHERE_MAX) elsewhere.clear();
  if (other === usual(env)) elsewhere.delete(home);
  else elsewhere.set(home, other);
  return at(other);
}

// The answer of the homes to another process's call, or undefined if this request is none.
export function servedForOthers(request, env) {
  if (env.METER_HOMES !== 'serve' || request.method !== 'POST' || !request.url.endsWith(CALL_PATH)) return undefined;
  return env.HOMES.fetch(request);
}
