// The metering worker's platform half: it receives, calls the home object, forwards and answers.
// It decides nothing: every step is what Rust (`meter.js`) returned as text.
//
// Rust runs only in synchronous turns. If one panics, the wasm instance is lost; `rust()` notices,
// starts a new one, and whoever waited is answered within HOME_WAIT_MS.

import { DurableObject } from 'cloudflare:workers';
import * as meter from './meter.js';

// Whoever waits longer for the home is told to try again: its object may be gone.
const HOME_WAIT_MS = 2000;
// An aggregator that takes longer is asked again by the next alarm.
const AGGREGATOR_WAIT_MS = 10000;
// How often a waiting request looks for its outcome: soon at first, seldom under load.
const NAP_MS_MIN = 2;
const NAP_MS_MAX = 25;
// A body that short is read before the request is looked at.
const SMALL_BYTES_MAX = 1024;
// An alarm that is overdue by that much was lost by the platform and is set again.
const ALARM_LOST_MS = 2000;

// A panic ends an instance; the next one has another number.
const life = { criticalError: false, instanceId: 0 };
let configured = false;

function rust(turn) {
  if (life.criticalError) {
    meter.__wbg_reset_state();
    life.criticalError = false;
    life.instanceId++;
    configured = false;
  }
  try {
    return turn();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) life.criticalError = true;
    throw error;
  }
}

function configure(env) {
  if (configured && !life.criticalError) return;
  rust(() => {
    if (configured) return;
    meter.configure(
      env.METER_KEY_SECRETS ?? '', env.METER_SIGNING_KEYS ?? '', env.METER_ROUTES ?? '',
      crypto.getRandomValues(new Uint32Array(4)),
    );
    configured = true;
  });
}

const now = () => BigInt(Date.now());

function log(message, error) {
  console.error(JSON.stringify({ message, error: String(error?.message ?? error) }));
}

function answer(step) {
  return new Response(step.body, { status: step.status, headers: step.headers });
}

const failure = code => answer(JSON.parse(rust(() => meter.failure(code))));

// A service binding where there is one, else the address of the environment.
function peer(env, binding, address) {
  return env[binding]
    ? { fetch: (path, init) => env[binding].fetch(new URL(path, 'http://peer'), init) }
    : { fetch: (path, init) => fetch(env[address].replace(/\/$/, '') + path, init) };
}

// An address that no parser changes.
const PLAIN = /^https?:\/\/[^/?#@\\]+(?:\/[\w~-]+)+$/;

// The address as it will be forwarded: what the gate judges and signs must be what the upstream gets,
// so `/v1/verify/../admin` is resolved before anybody looks at it.
function target({ url }) {
  if (PLAIN.test(url)) return url;
  const { origin, pathname, search } = new URL(url);
  return origin + pathname + search;
}

// eslint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;
const composed = text => ASCII.test(text) ? text : text.normalize('NFC');

const count = text => {
  const number = Number(text);
  return Number.isFinite(number) ? Math.min(number, 0xffffffff) : 0xffffffff;
};

// The body as text, or undefined if it is longer than bytes_max, whatever its head announced.
async function bodyText(request, bytes_max) {
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

// Asks a home; a home that does not answer in time is a failure like any other.
async function home(env, name, call) {
  // Benchmarks simulate a home in another place.
  if (env.METER_TEST_HOME_DELAY_MS > 0) await scheduler.wait(Number(env.METER_TEST_HOME_DELAY_MS));
  const late = scheduler.wait(HOME_WAIT_MS).then(() => { throw new Error('the home did not answer in time'); });
  return Promise.race([call(env.HOME.getByName(name)), late]);
}

// Sends the contacts that are due, within the request that calls; each takes care of its own reply.
function contact(env, ctx, name) {
  return rust(() => meter.contacts(name, now())).map(text => {
    const sent = home(env, name, stub => stub.contact(name, text)).then(
      reply => rust(() => meter.receive(name, reply, now())),
    ).catch(error => log('a contact was not answered', error));
    ctx.waitUntil(sent);
    return sent;
  });
}

// Reports, renews and returns what one home has issued, while there is anything to do.
async function background(env, ctx, name) {
  try {
    contact(env, ctx, name);
    const born = life.instanceId;
    const number = rust(() => meter.background(name, now()));
    if (number === undefined) return;
    for (;;) {
      const nap = rust(() => meter.nap(name, number, now()));
      if (nap === undefined) return;
      await scheduler.wait(nap);
      if (life.instanceId !== born) return;
      contact(env, ctx, name);
    }
  } catch (error) {
    log('the background work failed', error);
  }
}

// Waits for the home's word on one request: woken by its own contacts, else by its own timer. Another
// request's promise must never be awaited here.
async function wait(env, ctx, text) {
  const [, name, token] = text.split('\n');
  const born = life.instanceId;
  const under_way = new Set();
  for (let nap = NAP_MS_MIN; ; nap = Math.min(nap * 1.5, NAP_MS_MAX)) {
    for (const sent of contact(env, ctx, name)) {
      under_way.add(sent);
      sent.then(() => under_way.delete(sent));
    }
    await Promise.race([scheduler.wait(nap), ...under_way]);
    // What waited in a lost instance is forgotten there.
    if (life.instanceId !== born || life.criticalError) return rust(() => meter.failure('home_unavailable'));
    text = rust(() => meter.outcome(name, Number(token), now()));
    if (text[0] !== 'w') return text;
  }
}

async function decide(env, step) {
  try {
    return await home(env, step.home, stub => stub.decide(step.home, JSON.stringify(step.ask), step.holder ?? ''));
  } catch (error) {
    log('the home could not be asked', error);
    return JSON.stringify({ failed: 'home_unavailable' });
  }
}

async function install(env, step, policy) {
  try {
    const versions = await Promise.all(step.homes.map(name => home(env, name, stub => stub.install(name, policy))));
    return Response.json({ version: Math.min(...versions) });
  } catch (error) {
    log('a home did not take its policy', error);
    return failure('home_unavailable');
  }
}

// What the home or the lease allowed; `told` holds our answer's headers and the caller's signed identity.
async function forward(env, request, told) {
  const [, policy, limit, timing, project, agent, key, signature] = told;
  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()]) {
    if (name.startsWith('palveron-') || name === 'authorization') headers.delete(name);
  }
  headers.set('Palveron-Project', project);
  headers.set('Palveron-Agent', agent);
  headers.set('Palveron-Key-Id', key);
  headers.set('Palveron-Signature', signature);
  const url = target(request);
  let response;
  try {
    const upstream = await peer(env, 'UPSTREAM', 'UPSTREAM_URL').fetch(url.slice(url.indexOf('/', 8)), {
      method: request.method, headers, body: request.body, redirect: 'manual',
    });
    response = new Response(upstream.body, upstream);
  } catch (error) {
    log('the governance service did not answer', error);
    response = failure('upstream_unavailable');
  }
  for (const name of [...response.headers.keys()]) {
    if (name.startsWith('palveron-')) response.headers.delete(name);
  }
  response.headers.set('RateLimit-Policy', policy);
  response.headers.set('RateLimit', limit);
  response.headers.set('Server-Timing', timing);
  return response;
}

async function serve(request, env, ctx) {
  let header_bytes = 0, authorization = '', agent = '', length = '0';
  for (const [name, value] of request.headers) {
    header_bytes += name.length + value.length;
    if (name === 'authorization') authorization = value;
    else if (name === 'palveron-agent') agent = composed(value);
    else if (name === 'content-length') length = value;
  }
  const url = target(request);
  let text;
  if (url.endsWith('/v1/check') && length > 0 && length <= SMALL_BYTES_MAX) {
    const body = composed(await request.text());
    const line = `${request.method} ${url}`;
    text = rust(() => meter.checkNow(line, authorization, agent, header_bytes, body, now()));
  } else {
    const line = `${request.method} ${url}`;
    text = rust(() => meter.decide(line, authorization, agent, header_bytes, count(length), now()));
  }
  for (;;) {
    switch (text[0]) {
      case 'b': {
        const body = await bodyText(request, Number(text.slice(1)));
        if (body === undefined) return failure('body_too_large');
        text = rust(() => meter.check(authorization, agent, composed(body), now()));
        break;
      }
      case 'c': {
        const told = text.split('\n');
        if (told[0] !== 'c') ctx.waitUntil(background(env, ctx, told[0].slice(2)));
        const [, type, policy, limit, timing] = told;
        return new Response(told.at(-1), { headers: told.length < 6 ? { 'Content-Type': type } : {
          'Content-Type': type, 'RateLimit-Policy': policy, RateLimit: limit, 'Server-Timing': timing,
        } });
      }
      case 'f': {
        const told = text.split('\n');
        if (told[0] !== 'f') ctx.waitUntil(background(env, ctx, told[0].slice(2)));
        return forward(env, request, told);
      }
      case 'w':
        text = await wait(env, ctx, text);
        break;
      default: {
        const step = JSON.parse(text);
        switch (step.do) {
          case 'answer':
            return answer(step);
          case 'decide': {
            const reply = await decide(env, step);
            text = rust(() => meter.conclude(text, reply, now()));
            break;
          }
          case 'read_policy': {
            const policy = await bodyText(request, step.bytes_max);
            if (policy === undefined) return failure('body_too_large');
            text = rust(() => meter.policy_push(policy));
            const next = JSON.parse(text);
            if (next.do === 'install') return install(env, next, policy);
            break;
          }
          default:
            return failure('internal');
        }
      }
    }
  }
}

export default {
  async fetch(request, env, ctx) {
    try {
      configure(env);
    } catch (error) {
      log('the worker is not configured', error);
      return failure('not_ready');
    }
    try {
      return await serve(request, env, ctx);
    } catch (error) {
      log('a request failed', error);
      return failure('internal');
    }
  },
};

// The home of one project and mode: Rust decides and writes, this class waits.
export class MeterHome extends DurableObject {
  #home;
  #instance = -1;
  #pulling;
  #alarm;

  async decide(name, ask, holder) {
    return this.#ask(name, home => home.decide(name, incarnation(), ask, holder, now()));
  }

  async contact(name, contact) {
    return this.#ask(name, home => home.contact(name, incarnation(), contact, seed(), now()));
  }

  async #ask(name, act) {
    for (let pulled = false; ; pulled = true) {
      const reply = this.#turn(act);
      if (reply !== undefined) {
        this.#arm();
        return reply;
      }
      if (pulled) return JSON.stringify({ failed: 'home_unavailable' });
      // Everyone who waits for the policy waits for one pull; all of them are in this object.
      const failed = await (this.#pulling ??= this.#pull(name).finally(() => { this.#pulling = undefined; }));
      if (failed) return JSON.stringify({ failed });
    }
  }

  async install(name, signed) {
    return Number(this.#turn(home => home.install(name, incarnation(), signed, now())));
  }

  async alarm() {
    this.#alarm = undefined;
    try {
      await this.#flush();
    } catch (error) {
      log('a flush failed', error);
    }
    this.#arm();
  }

  #turn(act) {
    configure(this.env);
    return rust(() => {
      if (this.#instance !== life.instanceId) {
        this.#home = new meter.HomeObject(this.ctx.storage.sql);
        this.#instance = life.instanceId;
      }
      return act(this.#home);
    });
  }

  // Sets the alarm to when Rust wants to flush. An alarm that should have rung long ago was lost.
  #arm() {
    const due = this.#turn(home => home.due());
    if (due === undefined) return;
    const at = Number(due);
    const lost = this.#alarm !== undefined && Date.now() > this.#alarm + ALARM_LOST_MS;
    if (lost || this.#alarm === undefined || at < this.#alarm) {
      this.#alarm = Math.max(at, Date.now());
      this.ctx.storage.setAlarm(this.#alarm);
    }
  }

  async #send({ path, body, signature }) {
    return peer(this.env, 'AGGREGATOR', 'AGGREGATOR_URL').fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'palveron-signature': signature },
      body,
      signal: AbortSignal.timeout(AGGREGATOR_WAIT_MS),
    });
  }

  // Undefined once the policy is installed, else the code of why it is not.
  async #pull(name) {
    try {
      const response = await this.#send(JSON.parse(this.#turn(home => home.pull(name, incarnation(), now()))));
      const ack = await response.text();
      if (response.status === 404) return 'project_unknown';
      if (response.status !== 200) throw new Error(`the aggregator answered ${response.status}`);
      this.#turn(home => home.pulled(name, incarnation(), ack, now()));
      return undefined;
    } catch (error) {
      log('the policy could not be pulled', error);
      return 'home_unavailable';
    }
  }

  async #flush() {
    const text = this.#turn(home => home.flush(now()));
    if (text === undefined) return;
    const { seq, messages } = JSON.parse(text);
    try {
      let ack;
      for (const message of messages) {
        const response = await this.#send(message);
        ack = await response.text();
        if (response.status !== 200) throw new Error(`the aggregator answered ${response.status}`);
      }
      this.#turn(home => home.flushed(BigInt(seq), ack, now()));
    } catch (error) {
      log('a flush was not acknowledged', error);
      this.#turn(home => home.flushFailed(now()));
    }
  }
}

// The name of a new life of a home's storage; used only if nothing was stored yet.
function incarnation() {
  return crypto.randomUUID().replaceAll('-', '');
}

// What the home's jitter is drawn from.
const seed = () => crypto.getRandomValues(new BigUint64Array(1))[0];
