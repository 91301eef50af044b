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
// An alarm that is overdue by that much was lost by the platform and is set again.
const ALARM_LOST_MS = 2000;

const life = meter.__worker_init_state();
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
  rust(() => {
    if (configured) return;
    meter.configure(env.METER_KEY_SECRETS ?? '', env.METER_SIGNING_KEYS ?? '', env.METER_ROUTES ?? '');
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

// The address as it will be forwarded: what the gate judges and signs must be what the upstream gets,
// so `/v1/verify/../admin` is resolved before anybody looks at it.
function target(request) {
  const { origin, pathname, search } = new URL(request.url);
  return origin + pathname + search;
}

function sizes(request) {
  let headers = 0;
  for (const [name, value] of request.headers) headers += name.length + value.length;
  const body = Number(request.headers.get('content-length') ?? 0);
  return Uint32Array.of(headers, Number.isFinite(body) ? Math.min(body, 0xffffffff) : 0xffffffff);
}

// The body as text, or undefined if it is longer than bytes_max, whatever its head announced.
async function bodyText(request, bytes_max) {
  if (!request.body) return '';
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
  const late = scheduler.wait(HOME_WAIT_MS).then(() => { throw new Error('the home did not answer in time'); });
  return Promise.race([call(env.HOME.getByName(name)), late]);
}

async function decide(env, step) {
  try {
    return await home(env, step.home, stub => stub.decide(step.home, JSON.stringify(step.ask)));
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

async function forward(env, request, step) {
  const headers = new Headers(request.headers);
  for (const name of [...headers.keys()]) {
    if (name.startsWith('palveron-') || name === 'authorization') headers.delete(name);
  }
  for (const [name, value] of step.identity) headers.set(name, value);
  const { pathname, search } = new URL(request.url);
  let upstream;
  try {
    upstream = await peer(env, 'UPSTREAM', 'UPSTREAM_URL').fetch(pathname + search, {
      method: request.method, headers, body: request.body, redirect: 'manual',
    });
  } catch (error) {
    log('the governance service did not answer', error);
    const failed = failure('upstream_unavailable');
    for (const [name, value] of step.headers) failed.headers.set(name, value);
    return failed;
  }
  const response = new Response(upstream.body, upstream);
  for (const name of [...response.headers.keys()]) {
    if (name.startsWith('palveron-')) response.headers.delete(name);
  }
  for (const [name, value] of step.headers) response.headers.set(name, value);
  return response;
}

async function serve(request, env) {
  const { headers } = request;
  let text = rust(() => meter.gate(
    request.method, target(request), headers.get('authorization') ?? '',
    headers.get('palveron-agent')?.normalize('NFC') ?? '', sizes(request),
  ));
  for (;;) {
    const step = JSON.parse(text);
    switch (step.do) {
      case 'answer':
        return answer(step);
      case 'read_body': {
        const body = await bodyText(request, step.bytes_max);
        if (body === undefined) return failure('body_too_large');
        text = rust(() => meter.read_body(text, body.normalize('NFC')));
        break;
      }
      case 'decide': {
        const reply = await decide(env, step);
        text = rust(() => meter.conclude(text, reply, now()));
        break;
      }
      case 'forward':
        return forward(env, request, step);
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

export default {
  async fetch(request, env) {
    try {
      configure(env);
    } catch (error) {
      log('the worker is not configured', error);
      return failure('not_ready');
    }
    try {
      return await serve(request, env);
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

  async decide(name, ask) {
    for (let pulled = false; ; pulled = true) {
      const reply = this.#turn(home => home.decide(name, incarnation(), ask, now()));
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
        this.#home = new meter.HomeObject(this.ctx);
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
