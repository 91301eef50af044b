// Homes whose rows are in Redis. A socket belongs to the request or background turn that opened it, and is closed with
// it. Rust says what to send and reads what comes; nothing here looks into it.

import * as sockets from 'cloudflare:sockets';
import { REDIS_WAIT_MS, life, meter, now, rust, seed, wall } from './platform.js';

// The platform allows six connections at once; one is for the upstream.
const SOCKETS_MAX = 5;
// What a trip has come to, as Rust numbers it.
const SEND = 1, PAUSE = 2, DONE = 3, MOVE = 4;

// For how long a trip has a home for itself: longer than any takes that is well.
const ALONE_MS = 250;

// A server that stands still does not close anything.
const CLOSE_MS = 20;

// By the context of a request or background turn: how many sockets it has open, and who waits for one.
const places = new WeakMap();

// Who is on the way to which home. Two at once would only have the second decide anew, so they take turns; whoever waits
// is woken by its own timer, and a turn ends by itself, because its owner may be gone.
const alone = new Map();

// A home, as something that has the methods of its object.
export function inRedis(env, ctx, name) {
  const ask = (what, home, body, call) => trip(env, ctx, [what, home, body, call]);
  return {
    contact: (home, contact) => ask('contact', name, contact, ''),
    decide: (home, question, call) => ask('decide', name, question, call),
    observe: (home, observing) => ask('observe', name, observing, ''),
    // The clock of tests; no project can have this name.
    clock: async to_ms => Number(await ask('clock', 'clock/test', String(to_ms), '')),
  };
}

async function trip(env, ctx, question) {
  const place = await taken(ctx);
  try {
    return await travel(env, question);
  } finally {
    place.free();
  }
}

/** @param {[what: string, home: string, body: string, call: string]} question */
async function travel(env, question) {
  const born = life.instanceId;
  const turn = act => {
    // What was begun in a lost instance is lost with it.
    if (life.instanceId !== born || life.criticalError) throw new Error('the instance was lost');
    return rust(act);
  };
  const [, home] = question;
  const ends = wall() + REDIS_WAIT_MS;
  /** @type {import('./meter.js').Trip | undefined} */
  let trip;
  try {
    const random = crypto.getRandomValues(new Uint32Array(4));
    const mine = trip = turn(() => new meter.Trip(...question, random, now()));
    while (await visit(env, mine, turn, home, ends) === MOVE) {
      const pause_ms = turn(() => mine.pause());
      if (pause_ms > 0) await scheduler.wait(pause_ms);
    }
    return turn(() => mine.reply());
  } finally {
    if (trip && life.instanceId === born && !life.criticalError) trip.free();
  }
}

// Converses with whom the trip leads to, until it is done or goes on elsewhere.
async function visit(env, trip, turn, home, ends) {
  let socket, late, mine, next;
  try {
    const [address, secureTransport] = turn(() => trip.address()).split('\n');
    // Where a binding says which network that is, as workerd's configuration does, nothing else is in reach.
    socket = (env.REDIS ?? sockets).connect(address, { secureTransport, allowHalfOpen: false });
    // Who only reads hears of it, too.
    socket.closed.catch(() => {});
    const writer = socket.writable.getWriter();
    const reader = socket.readable.getReader();
    // Nobody waits any longer, and the place is another's.
    const left_ms = Math.max(0, ends - wall());
    const wait_ms = Math.min(left_ms, turn(() => trip.patience()) || left_ms);
    late = setTimeout(() => reader.cancel().catch(() => {}), wait_ms);
    const send = () => writer.write(turn(() => trip.sent())).then(() => true, () => false);
    mine = await turnFor(home, ends);
    let isThere = await send();
    while (isThere) {
      const { value, done } = await reader.read().catch(() => ({ done: true }));
      if (done) break;
      next = turn(() => trip.take(value, seed(), now()));
      if (next === PAUSE) {
        mine.end();
        await scheduler.wait(turn(() => trip.pause()));
        mine = await turnFor(home, ends);
        turn(() => trip.again());
        next = SEND;
      }
      if (next === SEND) {
        isThere = await send();
        // The server takes what was sent first, so that who reads now reads what is written.
        if (turn(() => trip.writes())) mine.end();
      }
      if (next === DONE || next === MOVE) return next;
    }
    return next = turn(() => trip.lost(now()));
  } finally {
    clearTimeout(late ?? null);
    mine?.end();
    const closed = socket?.close().catch(() => {});
    // Whoever goes on elsewhere has one open at a time.
    if (next === MOVE) await Promise.race([closed, scheduler.wait(CLOSE_MS)]);
  }
}

// The turn of a trip to that home, once it comes.
async function turnFor(home, ends) {
  while (alone.get(home)?.until > wall()) {
    if (wall() > ends) throw new Error('too many ask the same home');
    await scheduler.wait(1 + 3 * Math.random());
  }
  const mine = { until: wall() + ALONE_MS };
  alone.set(home, mine);
  return { end: () => { if (alone.get(home) === mine) alone.delete(home); } };
}

// A place for one more socket, as soon as there is one.
async function taken(ctx) {
  let all = places.get(ctx);
  if (!all) places.set(ctx, all = { open: 0, waiting: [] });
  if (all.open < SOCKETS_MAX) all.open++;
  else await new Promise(resolve => all.waiting.push(resolve));
  return {
    free() {
      const next = all.waiting.shift();
      if (next) next();
      else all.open--;
    },
  };
}
