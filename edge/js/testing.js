// The clock of tests and demonstrations: with METER_TEST=1, and only then, `POST /internal/clock`
// moves it forward. One object keeps how far; every process follows it.

import { answer } from './answer.js';
import { bodyText, follow, keptClock, meter, moveClock, rust } from './platform.js';
import { object } from './reach.js';

const CLOCK_PATH = '/internal/clock';
const CLOCK_BYTES_MAX = 4096;

const homes = (env, ctx) => name => object(env, ctx, 'HOME', name);

// The answer to a request that only tests send, or undefined if it is none.
export async function tested(request, env, ctx) {
  if (URL.parse(request.url)?.pathname === CLOCK_PATH && request.method === 'POST') return clock(request, env, ctx);
  await follow(homes(env, ctx));
  const panic = request.headers.get('palveron-test-panic');
  if (panic) await explode(env, ctx, panic);
  return undefined;
}

// What is to panic, and in which object: this request, a home or its next look at its flush,
// a sub-home or its next look at its contacts. `deep` and `overflow` are this request and a home whose stack overflows.
const BINDINGS = { home: 'HOME', overflow: 'HOME', flush: 'HOME', sub_home: 'SUB_HOME', look: 'SUB_HOME' };

async function explode(env, ctx, what) {
  const [where, name] = what.split(' ');
  if (where === 'request') rust(() => meter.panicForTest());
  else if (where === 'deep') rust(() => meter.overflowForTest());
  else await object(env, ctx, BINDINGS[where], name).panic(where);
}

async function clock(request, env, ctx) {
  const signed = await bodyText(request, CLOCK_BYTES_MAX);
  /** @type {import('./contract.js').ClockStep} */
  const step = JSON.parse(rust(() => meter.clockPush(signed ?? '')));
  if (step.do === 'answer') return answer(step);
  const offset_ms = await keptClock(homes(env, ctx), step.offset_ms);
  moveClock(offset_ms);
  return Response.json({ offset_ms });
}
