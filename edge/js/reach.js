// How the homes' objects are reached: in the worker beside this one, or in the process that holds them
// (METER_HOMES=remote), or in Redis (COUNTERS=redis).
//
// A process that holds them for others (METER_HOMES=serve) hands their calls on; see docs/protocol.md. Nothing here
// looks into what the calls say.

import { CALL_PATH, inTime, meter, rust, wall } from './platform.js';
import { inRedis } from './redis.js';

// The object of that name, as something that has the class's methods, to a request or background turn.
export function object(env, ctx, binding, name) {
  if (env.COUNTERS === 'redis') return inRedis(env, ctx, name);
  if (env.METER_HOMES !== 'remote') return env[binding].getByName(name);
  return new Proxy({}, { get: (_, method) => (...args) => remote(env, [binding, name, method, ...args]) });
}

async function remote(env, call) {
  // Two calls that ask the same in the same second are two, by a last argument that no method takes.
  const body = JSON.stringify([...call, crypto.randomUUID()]);
  const signature = rust(() => meter.signCall(CALL_PATH, body, BigInt(wall())));
  const response = await env.CENTER.fetch(new URL(CALL_PATH, 'http://homes'), {
    method: 'POST', headers: { 'palveron-signature': signature }, body,
  });
  if (response.status !== 200) throw new Error(`the homes' process answered ${response.status}`);
  return (await response.json()).reply;
}

// Calls an object; one that does not answer in time is a failure like any other.
export const reach = (env, ctx, binding, name, call) => inTime(env, () => call(object(env, ctx, binding, name)));

// The answer of the homes to another process's call, or undefined if this request is none.
export function servedForOthers(request, env) {
  if (env.METER_HOMES !== 'serve' || request.method !== 'POST' || !request.url.endsWith(CALL_PATH)) return undefined;
  return env.HOMES.fetch(request);
}
