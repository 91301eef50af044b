// The worker with the homes of all projects. On Cloudflare the edge reaches its objects by bindings; where processes
// share one process's homes, they call it, with signed messages. See docs/protocol.md.
//
// Nothing here looks into what the calls say.

import { ready } from './objects.js';
import { BodyError, bodyText, CALL_PATH, log, meter, rust, wall } from './platform.js';

export { MeterHome } from './home.js';
export { MeterSubHome } from './sub_home.js';

// The largest call: a contact with the cells of a busy second.
const CALL_BYTES_MAX = 1024 * 1024;
// What may be called from another process, by the binding of the object's class, and what it takes at most.
const CALLS = {
  HOME: { decide: 3, contact: 3, observe: 2, install: 2, progress: 2, clock: 1, leases: 0 },
  SUB_HOME: { contact: 3, leases: 0 },
};
// Of these, what takes the caller's trace behind that.
const TRACED = new Set(['decide', 'contact', 'observe']);

// Of these, what would count again if it came again. The others say themselves which of them came before.
const COUNTED = new Set(['decide', 'observe']);

function refused(problem) {
  return new Response(problem, { status: JSON.parse(problem).status, headers: { 'Content-Type': 'application/problem+json' } });
}

const failed = code => refused(rust(() => meter.failure(code)));

// The answer to another process's call.
async function called(request, env) {
  let body;
  try {
    body = await bodyText(request, CALL_BYTES_MAX);
  } catch (error) {
    if (error instanceof BodyError) return failed(error.message);
    throw error;
  }
  if (body === undefined) return failed('body_too_large');
  const signature = request.headers.get('palveron-signature') ?? '';
  const refusal = rust(() => meter.refuseCall(CALL_PATH, body, signature, BigInt(wall())));
  if (refusal !== undefined) return refused(refusal);
  try {
    const [binding, name, method, ...args] = JSON.parse(body);
    const takes = Object.hasOwn(CALLS, binding) && Object.hasOwn(CALLS[binding], method) ? CALLS[binding][method] : undefined;
    if (takes === undefined) throw new Error(`there is no ${binding}.${method} to call`);
    const told = args.slice(0, takes);
    const trace = request.headers.get('traceparent');
    if (trace && TRACED.has(method)) told[takes] = trace;
    if (method === 'clock' && env.METER_TEST !== '1') return failed('not_found');
    const replay = COUNTED.has(method) ? rust(() => meter.refuseReplay(signature, BigInt(wall()))) : undefined;
    if (replay !== undefined) return refused(replay);
    return Response.json({ reply: await env[binding].getByName(name)[method](...told) });
  } catch (error) {
    log('another process called in vain', error);
    return failed('home_unavailable');
  }
}

export default {
  async fetch(request, env) {
    try {
      ready(env);
    } catch (error) {
      log('the homes are not configured', error);
      return failed('not_ready');
    }
    return request.method === 'POST' && URL.parse(request.url)?.pathname === CALL_PATH ? called(request, env) : failed('not_found');
  },
};
