// Homes whose rows are in Redis. A socket belongs to the request or background turn that opened it, and is closed with
// it. Rust says what to send and reads what comes; nothing here looks into it.

import * as sockets from 'cloudflare:sockets';
import { REDIS_WAIT_MS, life, meter, now, rust, seed } from './platform.js';

// The platform allows six connections at once; one is for the upstream.
const SOCKETS_MAX = 5;
// What a trip has come to, as Rust numbers it.
const SEND = 1, DONE = 2, MOVE = 3, PAUSE = 4;
// What is to be done about a question, as Rust numbers it.
const GO = 1, ANSWERED = 2;

// How often a question is looked after: soon at first, then seldom.
const NAP_MS_MIN = 2;
const NAP_MS_MAX = 15;
// And all of them together in a millisecond: where many wait for a server that stood still, looking after them must not
// take the time in which they would be answered.
const LOOKS_PER_MS = 16;
let waiting = 0;

// A server that stands still does not close anything.
const CLOSE_MS = 20;

// By the context of a request or background turn: how many sockets it has open.
const open = new WeakMap();

// A home, as something that has the methods of its object.
export function inRedis(env, ctx, name) {
  const ask = (what, home, body, call) => answered(env, ctx, [what, home, body, call]);
  return {
    contact: (home, contact) => ask('contact', name, contact, ''),
    decide: (home, question, call) => ask('decide', name, question, call),
    observe: (home, observing) => ask('observe', name, observing, ''),
    // The clock of tests; no project can have this name.
    clock: async to_ms => Number(await clock(env, ctx, 'clock/test', String(to_ms))),
  };
}

// Turns of the instance that is there now.
function ofInstance() {
  const born = life.instanceId;
  const isLost = () => life.instanceId !== born || life.criticalError;
  const turn = act => {
    // What was begun in a lost instance is lost with it.
    if (isLost()) throw new Error('the instance was lost');
    return rust(act);
  };
  return { turn, free: thing => { if (!isLost()) thing.free(); } };
}

const random = () => crypto.getRandomValues(new Uint32Array(4));

/**
 * A home's reply. Whoever finds that nobody is on the way there goes, for all who wait; the others wait by timers of
 * their own, for nothing of another request's may be waited for.
 * @param {[what: string, home: string, body: string, call: string]} question
 * @returns {Promise<string>}
 */
async function answered(env, ctx, question) {
  const { turn, free } = ofInstance();
  const asking = turn(() => new meter.Asking(...question, now()));
  waiting += 1;
  try {
    for (let nap = NAP_MS_MIN; ; nap = Math.min(nap * 1.5, NAP_MS_MAX)) {
      const next = turn(() => asking.look((open.get(ctx) ?? 0) < SOCKETS_MAX, now()));
      if (next === ANSWERED) return turn(() => asking.reply());
      if (next === GO) {
        const trip = turn(() => asking.trip(random(), now()));
        // Others are on it who do not go where this request goes. Whom it has failed is told so.
        const gone = travel(env, ctx, trip).catch(() => {}).finally(() => free(trip));
        ctx.waitUntil(gone);
        await gone;
        nap = NAP_MS_MIN;
      } else {
        await scheduler.wait(Math.max(nap, waiting / LOOKS_PER_MS));
      }
    }
  } finally {
    waiting -= 1;
    free(asking);
  }
}

async function clock(env, ctx, name, to_ms) {
  const { turn, free } = ofInstance();
  const trip = turn(() => meter.Trip.clock(name, to_ms, random(), now()));
  try {
    await travel(env, ctx, trip);
    return turn(() => trip.reply());
  } finally {
    free(trip);
  }
}

// Makes a trip to its end.
/** @param {import('./meter.js').Trip} trip */
async function travel(env, ctx, trip) {
  const { turn } = ofInstance();
  open.set(ctx, (open.get(ctx) ?? 0) + 1);
  try {
    while (await visit(env, trip, turn) === MOVE) {
      const pause_ms = turn(() => trip.pause());
      if (pause_ms > 0) await scheduler.wait(pause_ms);
    }
  } finally {
    open.set(ctx, open.get(ctx) - 1);
  }
}

// Converses with whom the trip leads to, until it is done or goes on elsewhere.
async function visit(env, trip, turn) {
  let socket, late, timer, next;
  try {
    const [address, secureTransport] = turn(() => trip.address()).split('\n');
    // Where a binding says which network that is, as workerd's configuration does, nothing else is in reach.
    socket = (env.REDIS ?? sockets).connect(address, { secureTransport, allowHalfOpen: false });
    // Who only reads hears of it, too.
    socket.closed.catch(() => {});
    const writer = socket.writable.getWriter();
    const reader = socket.readable.getReader();
    // A server that answers nothing for so long stands still; one that is only slow is waited for. Then nothing of the
    // socket is: one that was never opened does not end by itself for minutes, whatever is cancelled.
    const wait_ms = turn(() => trip.patience()) || REDIS_WAIT_MS;
    const inTime = done => Promise.race([done.catch(() => null), late]);
    const send = () => {
      clearTimeout(timer ?? null);
      late = new Promise(end => { timer = setTimeout(end, wait_ms, null); });
      return inTime(writer.write(turn(() => trip.sent())).then(() => true));
    };
    let isThere = await send();
    while (isThere) {
      const came = await inTime(reader.read());
      if (!came?.value) break;
      next = turn(() => trip.take(came.value, seed(), now()));
      if (next === PAUSE) {
        await scheduler.wait(turn(() => trip.pause()));
        turn(() => trip.again());
        next = SEND;
      }
      if (next === SEND) isThere = await send();
      if (next === DONE || next === MOVE) return next;
    }
    return next = turn(() => trip.lost(now()));
  } finally {
    clearTimeout(timer ?? null);
    const closed = socket?.close().catch(() => {});
    // Whoever goes on elsewhere has one open at a time.
    if (next === MOVE) await Promise.race([closed, scheduler.wait(CLOSE_MS)]);
  }
}
