// How the objects are reached: in this process, or in the one that holds them (METER_HOMES=remote).
//
// A process that serves others (METER_HOMES=serve) takes their calls as signed messages; see
// docs/protocol.md. Nothing here looks into what the calls say.

import { answer, bodyText, failure, log, meter, rust, wall } from './platform.js';

// Whoever waits longer for an object is told to try again: it may be gone.
export const HOME_WAIT_MS = 1000;
// The largest call: a contact with the cells of a busy second.
const CALL_BYTES_MAX = 1024 * 1024;
const CALL_PATH = '/internal/contact';
// What may be called from another process, by the binding of the object's class.
const CALLS = {
  HOME: new Set(['decide', 'contact', 'observe', 'install', 'progress', 'clock']),
  SUB_HOME: new Set(['contact']),
};

// The object of that name, as something that has the class's methods.
export function object(env, binding, name) {
  if (env.METER_HOMES !== 'remote') return env[binding].getByName(name);
  return new Proxy({}, { get: (_, method) => (...args) => remote(env, [binding, name, method, ...args]) });
}

async function remote(env, call) {
  const body = JSON.stringify(call);
  const signature = rust(() => meter.signCall(CALL_PATH, body, BigInt(wall())));
  const response = await env.HOMES.fetch(new URL(CALL_PATH, 'http://homes'), {
    method: 'POST', headers: { 'palveron-signature': signature }, body,
  });
  if (response.status !== 200) throw new Error(`the homes' process answered ${response.status}`);
  return (await response.json()).reply;
}

// Calls an object; one that does not answer in time is a failure like any other.
export async function reach(env, binding, name, call) {
  // Benchmarks simulate a home in another place.
  if (env.METER_TEST_HOME_DELAY_MS > 0) await scheduler.wait(Number(env.METER_TEST_HOME_DELAY_MS));
  const late = scheduler.wait(HOME_WAIT_MS).then(() => { throw new Error('the home did not answer in time'); });
  return Promise.race([call(object(env, binding, name)), late]);
}

// The answer to another process's call, or undefined if this request is none.
export async function served(request, env) {
  if (env.METER_HOMES !== 'serve' || request.method !== 'POST' || !request.url.endsWith(CALL_PATH)) return undefined;
  const body = await bodyText(request, CALL_BYTES_MAX);
  if (body === undefined) return failure('body_too_large');
  const signature = request.headers.get('palveron-signature') ?? '';
  const refused = rust(() => meter.refuseCall(CALL_PATH, body, signature, BigInt(wall())));
  if (refused !== undefined) return answer(JSON.parse(refused));
  try {
    const [binding, name, method, ...args] = JSON.parse(body);
    if (!CALLS[binding]?.has(method)) throw new Error(`there is no ${binding}.${method} to call`);
    return Response.json({ reply: await env[binding].getByName(name)[method](...args) });
  } catch (error) {
    log('another process called in vain', error);
    return failure('home_unavailable');
  }
}
