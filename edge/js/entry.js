// The metering worker's platform half: it receives, calls the homes' objects, forwards and answers.
// It decides nothing: every step is what Rust (`meter.js`) has told, as `contract.d.ts` says.
//
// Rust runs only in synchronous turns. If one panics, the wasm instance is lost; `rust()` notices,
// starts a new one, and whoever waited is answered within HOME_WAIT_MS.

import { again, checked, filled, keep, known } from './again.js';
import { answer, failure } from './answer.js';
import {
  BodyError, bodyText, configure, isConfigured, life, limited, log, meter, now, peer, rust, wall,
} from './platform.js';
import { pathOf, scraped, tally } from './metrics.js';
import { places, reach, reachObject, servedForOthers } from './reach.js';
import { tested } from './testing.js';
import { Awaited, during, isTraced, received, sent, traceparent, whose } from './traces.js';

export { Meter } from './service.js';

/** @import { Concluded, Contact, Decide, Forward, Install, Leases, Observing, Settings, Ticket, Instruction, Upstream, Wait } from './contract.js' */
/** @import { Span } from './traces.js' */

// What Rust has told of a request, as it is read.
/** @returns {Instruction} */
const read = text => JSON.parse(text);

// How often a waiting request looks for its outcome: soon at first, seldom under load.
const NAP_MS_MIN = 2;
const NAP_MS_MAX = 25;
// A body that short may make a question that was asked before.
const SMALL_BYTES_MAX = 1024;

const HEALTH = '/healthz';

// So begins a check whose question is in its address: whatever body comes with it is not read.
const ASKED_BY_ADDRESS = '/v1/check?kind=';

// An address that no parser changes.
const PLAIN = /^https?:\/\/[^/?#@\\]+(?:\/[\w~-]+)+(?:\?[\w~=&-]*)?$/;

// The address as it will be forwarded: what the gate judges and signs must be what the upstream gets,
// so `/v1/verify/../admin` is resolved before anybody looks at it. Empty where there is no such address, as for
// `OPTIONS *`, which the platform puts behind the host.
function target(url) {
  if (PLAIN.test(url)) return url.slice(url.indexOf('/', 8));
  const parsed = URL.parse(url);
  return parsed && !parsed.host.includes('*') ? parsed.pathname + parsed.search : '';
}

const count = text => {
  const number = Number(text);
  return Number.isFinite(number) ? Math.min(number, 0xffffffff) : 0xffffffff;
};

// By home: the traced requests that have waited for it, whose units its next report has.
/** @type {Map<string, Awaited>} */
const unreported = new Map();
// By home: the spans of contacts that are under way.
/** @type {Map<string, Set<Span>>} */
const asking = new Map();

// Sends the contacts that are due, within the request that calls; each takes care of its own reply. They belong to the
// request of that span, and lead to those whose units they report.
/** @param {Span} [span] */
function contact(env, ctx, name, span) {
  /** @type {Contact[]} */
  const due = JSON.parse(rust(() => meter.contacts(name, now())));
  return due.map(({ object, contact }) => {
    // Sub-homes are named after their home, with their region and number.
    const binding = object === name ? 'HOME' : 'SUB_HOME';
    const own = spanOfContact(name, span);
    const answered = reach(env, ctx, binding, object, stub => stub.contact(name, contact, object), own);
    const told = (own ? underWay(env, ctx, name, own, answered) : answered).then(
      reply => rust(() => meter.receive(name, reply, now())),
    ).catch(error => log('a contact was not answered', error));
    ctx.waitUntil(told);
    return told;
  });
}

/** @param {Span} [span] */
function spanOfContact(name, span) {
  const links = unreported.get(name)?.all() ?? [];
  if (!span && links.length === 0) return undefined;
  unreported.delete(name);
  return sent(span, links, span ? 'ask the home' : 'report to the home', { ...whose(name), method: 'contact' });
}

// While a contact is under way, whoever waits for it is linked to it.
/** @param {Span} own */
function underWay(env, ctx, name, own, answered) {
  const all = asking.get(name) ?? new Set();
  asking.set(name, all.add(own));
  return during(env, ctx, own, () => answered.finally(() => {
    all.delete(own);
    if (all.size === 0) asking.delete(name);
  }));
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

// Waits for the home's word on one request, and tells it as Rust does: woken by its own contacts, else by its own timer.
// Another request's promise must never be awaited here.
/**
 * @param {Asked} asked
 * @param {Wait} waiting
 */
async function wait(env, ctx, asked, waiting) {
  const { home: name, token } = waiting;
  const born = life.instanceId;
  const under_way = new Set();
  for (let nap = NAP_MS_MIN; ; nap = Math.min(nap * 1.5, NAP_MS_MAX)) {
    for (const told of contact(env, ctx, name, asked.span)) {
      under_way.add(told);
      told.then(() => under_way.delete(told));
    }
    if (asked.span) asking.get(name)?.forEach(own => asked.span?.links.add(own));
    await Promise.race([scheduler.wait(nap), ...under_way]);
    // What waited in a lost instance is forgotten there.
    if (life.instanceId !== born || life.criticalError) {
      return rust(() => meter.lost(asked.method, asked.path, asked.authorization, asked.agent, now()));
    }
    const text = rust(() => meter.outcome(name, token, now()));
    if (read(text).do === 'wait') continue;
    if (asked.span) unreported.set(name, (unreported.get(name) ?? new Awaited()).add(asked.span));
    return text;
  }
}

// Calls that method of a home within the request of that span.
/** @param {Span} [span] */
function askHome(env, ctx, home, method, args, span) {
  const own = span && sent(span, [], 'ask the home', { ...whose(home), method });
  return during(env, ctx, own, () => reach(env, ctx, 'HOME', home, stub => stub[method](home, ...args), own));
}

/**
 * @param {Decide} step
 * @param {Span} [span]
 */
async function decide(env, ctx, step, span) {
  try {
    return await askHome(env, ctx, step.home, 'decide', [JSON.stringify(step.ask), step.call ?? ''], span);
  } catch (error) {
    log('the home could not be asked', error);
    return JSON.stringify({ failed: 'home_unavailable' });
  }
}

/** @param {Install} step */
async function install(env, ctx, step, policy) {
  try {
    const versions = await Promise.all(step.homes.map(name => reachObject(env, ctx, 'HOME', name, stub => stub.install(name, policy))));
    return Response.json({ version: Math.min(...versions), places: places(env) });
  } catch (error) {
    log('a home did not take its policy', error);
    return failure('home_unavailable');
  }
}

// Who has what of these homes' units, as each and its sub-homes tell it. Nothing here looks into that.
/** @param {Leases} step */
async function leases(env, ctx, step) {
  try {
    const homes = await Promise.all(step.homes.map(async name => {
      const [home, ...names] = await reachObject(env, ctx, 'HOME', name, stub => stub.leases());
      const asked = await Promise.allSettled(names.map(sub => reachObject(env, ctx, 'SUB_HOME', sub, stub => stub.leases())));
      const told = asked.flatMap((answer, place) =>
        'value' in answer && answer.value ? [[names[place], JSON.parse(answer.value)]] : []);
      const silent = names.length - told.length;
      return [name, { home: home ? JSON.parse(home) : null, sub_homes: Object.fromEntries(told), silent }];
    }));
    return Response.json(Object.fromEntries(homes));
  } catch (error) {
    log('a home did not tell of its leases', error);
    return failure('home_unavailable');
  }
}

// What the upstream says beside its answer: LLM tokens and anchors, which Rust counts.
const OBSERVED = { tokens_in: 'palveron-tokens-in', tokens_out: 'palveron-tokens-out', anchors: 'palveron-anchors' };

// Tells Rust what became of a forwarded request, if that matters: units that wait for the answer, or
// what the upstream has observed. Nobody waits for it. Says whether the request is counted.
/** @param {Ticket} ticket */
function conclude(env, ctx, ticket, status, seen) {
  /** @type {Upstream} */
  const upstream = { status };
  for (const name in OBSERVED) if (seen?.[OBSERVED[name]]) upstream[name] = seen[OBSERVED[name]];
  const text = rust(() => meter.answered(JSON.stringify(ticket), JSON.stringify(upstream), now()));
  /** @type {Concluded} */
  const concluded = JSON.parse(text);
  if (concluded.observe) ctx.waitUntil(observe(env, ctx, concluded.observe));
  else if (concluded.restless) ctx.waitUntil(background(env, ctx, concluded.restless));
  return concluded.counted;
}

// The home's word on an observation; it has failed if there is none.
/**
 * @param {Observing} observing
 * @param {Span} [span]
 */
async function observe(env, ctx, observing, span) {
  try {
    return await askHome(env, ctx, observing.home, 'observe', [JSON.stringify(observing)], span);
  } catch (error) {
    log('an observation was not noted', error);
    return JSON.stringify({ failed: 'home_unavailable' });
  }
}

// What the home or the lease allowed. `limit` is what is left now, where that is known better.
/**
 * @param {{ path: string, ours: string[] }} asked
 * @param {Forward} told
 * @param {string} [limit]
 */
async function forward(env, ctx, request, asked, told, limit) {
  const { path, ours } = asked;
  const headers = new Headers(request.headers);
  for (const name of ours) headers.delete(name);
  headers.delete('authorization');
  for (const [name, value] of told.identity) headers.set(name, value);
  let response, status = 0;
  let seen = /** @type {Record<string, string> | undefined} */ (undefined);
  let broken = /** @type {Error | undefined} */ (undefined);
  let { body } = request, signal;
  // What announces no length is counted while it comes.
  if (body && !headers.has('content-length')) {
    // A stream that only fails would end as a whole body does.
    const call = new AbortController();
    ({ signal } = call);
    body = limited(body, meter.forwardBytesMax(), error => {
      broken = error;
      call.abort(error);
    });
  }
  try {
    const upstream = await peer(env, 'UPSTREAM', 'UPSTREAM_URL').fetch(path, {
      method: request.method, headers, body, redirect: 'manual', signal,
    });
    // Whoever answers a body that was broken off has not seen the whole of it.
    if (broken) throw broken;
    response = new Response(upstream.body, upstream);
    status = upstream.status;
  } catch (error) {
    if (!broken) log('the governance service did not answer', error);
    response = failure(broken?.message ?? 'upstream_unavailable');
  }
  const added = response.headers;
  added.forEach((value, name) => {
    if (name.startsWith('palveron-')) (seen ??= {})[name] = value;
  });
  for (const name in seen) added.delete(name);
  let is_counted = true;
  if (seen || told.ticket.token !== 0) is_counted = conclude(env, ctx, told.ticket, status, seen);
  // Of a home that has not answered there are no numbers.
  for (const [name, value] of told.headers) if (value) added.set(name, value);
  if (limit !== undefined) added.set('RateLimit', limit);
  if (told.would_deny) added.set('Palveron-Would-Deny', told.would_deny);
  if (told.source && is_counted) added.set('Palveron-Source', told.source);
  return response;
}

// Ours alone; servers that make variables of headers read `_` and other signs as `-`.
const OURS = /^palveron[^a-z0-9]/;

// What the headers of a request weigh, how long a body they announce, and which of them only we may say. The agent is
// not among them: it is set anew.
function look(headers) {
  let bytes = 0, length = '0', upgrade = false;
  const ours = [];
  headers.forEach((value, name) => {
    bytes += name.length + value.length;
    if (name === 'content-length') length = value;
    else if (name === 'upgrade') upgrade = true;
    else if (name.startsWith('palveron') && name !== 'palveron-agent' && OURS.test(name)) ours.push(name);
  });
  return { bytes, length: count(length), ours, upgrade };
}

// What Rust has told about a request that needs no waiting; undefined for all others.
/** @param {Instruction} told */
function served(told, asked, request, env, ctx) {
  if (told.do !== 'answer' && told.do !== 'forward') return undefined;
  if (told.restless) ctx.waitUntil(background(env, ctx, told.restless));
  keep(asked, told);
  return told.do === 'forward' ? forward(env, ctx, request, asked, told) : answer(told);
}

// What a question is answered with that is allowed, and known.
/** @param {import('./again.js').Kept} kept */
function allowed(kept, ours, request, env, ctx) {
  const { known, path, restless, told } = kept;
  if (restless) ctx.waitUntil(background(env, ctx, known.home));
  return told.do === 'forward' ? forward(env, ctx, request, { path, ours }, told, filled(known.limit)) : checked(kept);
}

// The answer to a question that is allowed again; undefined if it is to be asked at length.
function allowedAgain(question, request, env, ctx) {
  const kept = known(question);
  if (!kept) return undefined;
  if (kept.told.do === 'answer') return again(kept, 0, 0) ? allowed(kept, [], request, env, ctx) : undefined;
  const { bytes, length, ours, upgrade } = look(request.headers);
  // The question does not tell that; whoever reads it at length refuses it.
  if (upgrade) return undefined;
  return again(kept, bytes, length) ? allowed(kept, ours, request, env, ctx) : undefined;
}

// A response where nothing has to be waited for, else the promise of one.
function serve(request, url, env, ctx) {
  const { headers, method } = request;
  const authorization = headers.get('authorization') ?? '';
  const agent = headers.get('palveron-agent') ?? '';
  const question = `${method} ${url}\n${authorization}\n${agent}`;
  const response = allowedAgain(question, request, env, ctx);
  if (response) return response;
  const path = target(url);
  /** @type {Asked} */
  const asked = { question, method, path, authorization, agent, ours: [], short: false };
  let bytes = 0, length = 0;
  // Nothing of a check's headers is kept or forwarded, so only what the platform accepts limits them.
  if (!path.startsWith('/v1/check')) ({ bytes, length, ours: asked.ours } = look(headers));
  else if (!path.startsWith(ASKED_BY_ADDRESS)) length = count(headers.get('content-length') ?? '0');
  const host = headers.get('host') ?? '', upgrades = Boolean(headers.get('upgrade'));
  const text = rust(() => meter.decide(method, path, host, upgrades, authorization, agent, bytes, length, now()));
  asked.short = path === '/v1/check' && length > 0 && length <= SMALL_BYTES_MAX;
  const answered = served(read(text), asked, request, env, ctx);
  // workerd says no time by itself, and `meter doctor` compares clocks.
  if (path === HEALTH && answered instanceof Response) answered.headers.set('date', new Date(wall()).toUTCString());
  return answered ?? proceed(text, asked, request, env, ctx);
}

/**
 * What was asked. `question` is all that the answer depends on; `ours` are headers that only we may say; `short` a body
 * that belongs to the question; `span` is of a request that has to wait, once it was looked whether its trace is kept.
 * @typedef {{
 *   question?: string, method: string, path: string, authorization: string, agent: string, ours: string[], short: boolean,
 *   traced?: boolean, span?: Span
 * }} Asked
 */

// What a home is waited for in.
const WAITS = new Set(['wait', 'decide', 'observe']);

// Does what Rust says until there is an answer.
/** @param {Asked} asked */
async function proceed(text, asked, request, env, ctx) {
  const { authorization, agent } = asked;
  for (;;) {
    const told = read(text);
    if (!asked.traced && WAITS.has(told.do) && isTraced(env)) return traced(text, asked, request, env, ctx);
    switch (told.do) {
      case 'answer':
      case 'forward':
        return served(told, asked, request, env, ctx);
      case 'wait':
        text = await wait(env, ctx, asked, told);
        break;
      case 'decide': {
        if (told.restless) ctx.waitUntil(background(env, ctx, told.restless));
        const reply = await decide(env, ctx, told, asked.span);
        text = rust(() => meter.conclude(text, reply, now()));
        break;
      }
      case 'observe': {
        const reply = await observe(env, ctx, told, asked.span);
        text = rust(() => meter.observed(text, reply, now()));
        break;
      }
      case 'read_body':
      case 'read_observation':
      case 'read_policy':
      case 'read_leases': {
        const body = await bodyText(request, told.bytes_max);
        if (body === undefined) return failure('body_too_large');
        if (told.do === 'read_body') {
          // What was asked is known only now.
          asked.question = asked.short ? `${asked.question}\n${body}` : undefined;
          const response = asked.short && allowedAgain(asked.question, request, env, ctx);
          if (response) return response;
        }
        text = rust(() => continued(told.do, authorization, agent, body));
        if (told.do === 'read_policy') {
          const next = read(text);
          if (next.do === 'install') return install(env, ctx, next, body);
        }
        break;
      }
      case 'leases':
        return leases(env, ctx, told);
      case 'metrics':
        return scraped();
      default:
        return failure('internal');
    }
  }
}

// Goes on with a request that has to wait, as a span of its caller's trace; what it is forwarded to goes on with that.
/** @param {Asked} asked */
async function traced(text, asked, request, env, ctx) {
  const { method } = asked;
  const route = pathOf(request.url);
  asked.traced = true;
  const trace = request.headers.get('traceparent');
  const span = received(env, trace, `${method} ${route}`, { 'http.request.method': method, 'http.route': route });
  if (!span) return proceed(text, asked, request, env, ctx);
  asked.span = span;
  const headers = new Headers(request.headers);
  headers.set('traceparent', traceparent(span));
  // Nothing else of it is read from here on.
  const onward = { url: request.url, method, headers, body: request.body };
  return during(env, ctx, span, async () => {
    const response = await proceed(text, asked, onward, env, ctx);
    span.attributes['http.response.status_code'] = response.status;
    span.failed = response.status >= 500;
    return response;
  });
}

// Hands Rust the body that it wanted to be read.
function continued(read, authorization, agent, body) {
  switch (read) {
    case 'read_body': return meter.check(authorization, agent, body, now());
    case 'read_observation': return meter.observeBody(authorization, agent, body, now());
    case 'read_policy': return meter.policy_push(body);
    default: return meter.leasesAsked(body, now());
  }
}

function failed(error) {
  // That is the client's fault, and nothing to look into.
  if (error instanceof BodyError) return failure(error.message);
  log('a request failed', error);
  return failure('internal');
}

async function serveInternal(request, url, env, ctx) {
  const internal = await servedForOthers(request, env) ?? (env.METER_TEST === '1' && await tested(request, env, ctx));
  return internal || serve(request, url, env, ctx);
}

// What Rust must know before any request.
function settings(env, continent) {
  const text = name => String(env[name] ?? '');
  /** @type {Settings} */
  const all = {
    key_secrets: text('METER_KEY_SECRETS'),
    signing_keys: text('METER_SIGNING_KEYS'),
    routes: text('METER_ROUTES'),
    bill: text('METER_BILL'),
    shadow: text('METER_SHADOW'),
    metrics_token: text('METER_METRICS_TOKEN'),
    region: text('METER_REGION'),
    continent: continent ?? '',
    sub_homes: text('METER_SUB_HOMES'),
    counters: text('COUNTERS'),
    redis_url: text('REDIS_URL'),
    redis_replicas: text('REDIS_REPLICAS'),
    redis_accept_loss: text('REDIS_ACCEPT_LOSS'),
  };
  meter.configure(JSON.stringify(all), crypto.getRandomValues(new Uint32Array(4)));
}

// A response, or the promise of one.
function answered(request, url, env, ctx) {
  try {
    if (!isConfigured()) {
      const continent = request.cf?.continent;
      configure(() => settings(env, continent));
    }
  } catch (error) {
    log('the worker is not configured', error);
    return failure('not_ready');
  }
  try {
    const internal = env.METER_TEST === '1' || env.METER_HOMES === 'serve';
    const response = internal ? serveInternal(request, url, env, ctx) : serve(request, url, env, ctx);
    return response instanceof Response ? response : response.catch(failed);
  } catch (error) {
    return failed(error);
  }
}

export default {
  fetch(request, env, ctx) {
    const { url } = request;
    const response = answered(request, url, env, ctx);
    return response instanceof Response ? tally(url, response) : response.then(response => tally(url, response));
  },
};
