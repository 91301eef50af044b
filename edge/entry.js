// The metering worker's platform half: it receives, calls the homes' objects, forwards and answers.
// It decides nothing: every step is what Rust (`meter.js`) returned as text.
//
// Rust runs only in synchronous turns. If one panics, the wasm instance is lost; `rust()` notices,
// starts a new one, and whoever waited is answered within HOME_WAIT_MS.

import { again, checked, filled, keep, known } from './again.js';
import { answer, failure } from './answer.js';
import {
  BodyError, bodyText, configure, isConfigured, life, limited, log, meter, now, peer, rust,
} from './platform.js';
import { scraped, tally } from './metrics.js';
import { reach, served } from './reach.js';
import { tested } from './testing.js';

export { Meter } from './service.js';

// How often a waiting request looks for its outcome: soon at first, seldom under load.
const NAP_MS_MIN = 2;
const NAP_MS_MAX = 25;
// A body that short may make a question that was asked before.
const SMALL_BYTES_MAX = 1024;

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

// Sends the contacts that are due, within the request that calls; each takes care of its own reply.
function contact(env, ctx, name) {
  return rust(() => meter.contacts(name, now())).map(text => {
    const end = text.indexOf('\n');
    const object = text.slice(0, end);
    // Sub-homes are named after their home, with their region and number.
    const binding = object === name ? 'HOME' : 'SUB_HOME';
    const sent = reach(env, ctx, binding, object, stub => stub.contact(name, text.slice(end + 1), object)).then(
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
async function wait(env, ctx, asked, text) {
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
    if (life.instanceId !== born || life.criticalError) {
      return rust(() => meter.lost(asked.line, asked.authorization, asked.agent, now()));
    }
    text = rust(() => meter.outcome(name, Number(token), now()));
    if (text[0] !== 'w') return text;
  }
}

async function decide(env, ctx, step) {
  try {
    return await reach(env, ctx, 'HOME', step.home, stub => stub.decide(step.home, JSON.stringify(step.ask), step.call ?? ''));
  } catch (error) {
    log('the home could not be asked', error);
    return JSON.stringify({ failed: 'home_unavailable' });
  }
}

async function install(env, ctx, step, policy) {
  try {
    const versions = await Promise.all(step.homes.map(name => reach(env, ctx, 'HOME', name, stub => stub.install(name, policy))));
    return Response.json({ version: Math.min(...versions) });
  } catch (error) {
    log('a home did not take its policy', error);
    return failure('home_unavailable');
  }
}

// Who has what of these homes' units, as each and its sub-homes tell it. Nothing here looks into that.
async function leases(env, ctx, step) {
  try {
    const homes = await Promise.all(step.homes.map(async name => {
      const [home, ...names] = await reach(env, ctx, 'HOME', name, stub => stub.leases());
      const asked = await Promise.allSettled(names.map(sub => reach(env, ctx, 'SUB_HOME', sub, stub => stub.leases())));
      const told = asked.map((answer, place) => answer.value && [names[place], JSON.parse(answer.value)]).filter(Boolean);
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
const OBSERVED = ['palveron-tokens-in', 'palveron-tokens-out', 'palveron-anchors'];

// Tells Rust what became of a forwarded request, if that matters: units that wait for the answer, or
// what the upstream has observed. Nobody waits for it. Says whether the request is counted.
function conclude(env, ctx, [ticket, agent, key], status, seen) {
  const [tokens_in, tokens_out, anchors] = OBSERVED.map(name => seen?.[name] ?? '');
  let text = rust(() => meter.answered(ticket, agent, key, status, tokens_in, tokens_out, anchors, now()));
  const is_counted = text[0] !== '!';
  if (!is_counted) text = text.slice(1);
  if (text[0] === '+') ctx.waitUntil(background(env, ctx, text.slice(1)));
  else if (text) ctx.waitUntil(observe(env, ctx, JSON.parse(text)));
  return is_counted;
}

// The home's word on an observation; it has failed if there is none.
async function observe(env, ctx, step) {
  try {
    return await reach(env, ctx, 'HOME', step.home, stub => stub.observe(step.home, JSON.stringify(step)));
  } catch (error) {
    log('an observation was not noted', error);
    return JSON.stringify({ failed: 'home_unavailable' });
  }
}

// What the home or the lease allowed; `lines` hold our answer's headers and the caller's signed identity.
async function forward(env, ctx, request, { path, ours }, lines) {
  const [, policy, limit, timing, project, agent, key, signature, ticket, would_deny, source] = lines;
  const headers = new Headers(request.headers);
  for (const name of ours) headers.delete(name);
  headers.delete('authorization');
  headers.set('Palveron-Project', project);
  headers.set('Palveron-Agent', agent);
  headers.set('Palveron-Key-Id', key);
  headers.set('Palveron-Signature', signature);
  let response, status = 0, seen, broken;
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
  // A ticket that ends with 0 holds nothing.
  let is_counted = true;
  if (seen || !ticket.endsWith(' 0')) is_counted = conclude(env, ctx, [ticket, agent, key], status, seen);
  if (policy) {
    added.set('RateLimit-Policy', policy);
    added.set('RateLimit', limit);
  }
  added.set('Server-Timing', timing);
  if (would_deny) added.set('Palveron-Would-Deny', would_deny);
  if (source && is_counted) added.set('Palveron-Source', source);
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
function told(text, asked, request, env, ctx) {
  if (text[0] !== 'c' && text[0] !== 'f') return undefined;
  const lines = text.split('\n');
  const restless = lines[0][1] === '+';
  const [home, number] = lines[0].slice(2).split(' ');
  if (number !== undefined) {
    return allowed(keep(asked, lines, home, Number(number), restless), asked, request, env, ctx);
  }
  if (restless) ctx.waitUntil(background(env, ctx, home));
  if (text[0] === 'f') return forward(env, ctx, request, asked, lines);
  const [, type, policy, limit, timing, source] = lines;
  const headers = { 'Content-Type': type };
  if (lines.length >= 6) Object.assign(headers, { 'RateLimit-Policy': policy, RateLimit: limit, 'Server-Timing': timing });
  // Before the body, where something is counted.
  if (lines.length >= 7) headers['Palveron-Source'] = source;
  return new Response(lines.at(-1), { headers });
}

// What a question is answered with that is allowed, and known.
function allowed(answer, asked, request, env, ctx) {
  if (answer.restless) ctx.waitUntil(background(env, ctx, answer.home));
  return answer.forwards ? forward(env, ctx, request, asked, filled(answer)) : checked(answer);
}

// The answer to a question that is allowed again; undefined if it is to be asked at length.
function allowedAgain(question, request, env, ctx) {
  const answer = known(question);
  if (!answer) return undefined;
  if (!answer.forwards) return again(answer, 0, 0) ? allowed(answer, undefined, request, env, ctx) : undefined;
  const { bytes, length, ours, upgrade } = look(request.headers);
  // The question does not tell that; whoever reads it at length refuses it.
  if (upgrade) return undefined;
  return again(answer, bytes, length) ? allowed(answer, { path: answer.path, ours }, request, env, ctx) : undefined;
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
  const line = `${method} ${path}\n${headers.get('host') ?? ''}\n${headers.get('upgrade') ?? ''}`;
  const asked = { question, line, path, authorization, agent, ours: [], short: false };
  let bytes = 0, length = 0;
  // Nothing of a check's headers is kept or forwarded, so only what the platform accepts limits them.
  if (!path.startsWith('/v1/check')) ({ bytes, length, ours: asked.ours } = look(headers));
  else if (!path.startsWith(ASKED_BY_ADDRESS)) length = count(headers.get('content-length') ?? '0');
  const text = rust(() => meter.decide(asked.line, authorization, agent, bytes, length, now()));
  asked.short = path === '/v1/check' && length > 0 && length <= SMALL_BYTES_MAX;
  return told(text, asked, request, env, ctx) ?? proceed(text, asked, request, env, ctx);
}

// Does what Rust says until there is an answer.
async function proceed(text, asked, request, env, ctx) {
  const { authorization, agent } = asked;
  for (;;) {
    switch (text[0]) {
      case 'b': {
        const body = await bodyText(request, Number(text.slice(1)));
        if (body === undefined) return failure('body_too_large');
        // What was asked is known only now.
        asked.question = asked.short ? `${asked.question}\n${body}` : undefined;
        const response = asked.short && allowedAgain(asked.question, request, env, ctx);
        if (response) return response;
        text = rust(() => meter.check(authorization, agent, body, now()));
        break;
      }
      case 'o': {
        const body = await bodyText(request, Number(text.slice(1)));
        if (body === undefined) return failure('body_too_large');
        text = rust(() => meter.observeBody(authorization, agent, body, now()));
        break;
      }
      case '+': {
        const end = text.indexOf('\n');
        ctx.waitUntil(background(env, ctx, text.slice(1, end)));
        text = text.slice(end + 1);
        break;
      }
      case 'c':
      case 'f':
        return told(text, asked, request, env, ctx);
      case 'w':
        text = await wait(env, ctx, asked, text);
        break;
      default: {
        const step = JSON.parse(text);
        switch (step.do) {
          case 'answer':
            return answer(step);
          case 'decide': {
            if (step.restless) ctx.waitUntil(background(env, ctx, step.home));
            const reply = await decide(env, ctx, step);
            text = rust(() => meter.conclude(text, reply, now()));
            break;
          }
          case 'observe': {
            const reply = await observe(env, ctx, step);
            text = rust(() => meter.observed(JSON.stringify(step), reply, now()));
            break;
          }
          case 'read_policy': {
            const policy = await bodyText(request, step.bytes_max);
            if (policy === undefined) return failure('body_too_large');
            text = rust(() => meter.policy_push(policy));
            const next = JSON.parse(text);
            if (next.do === 'install') return install(env, ctx, next, policy);
            break;
          }
          case 'read_leases': {
            const question = await bodyText(request, step.bytes_max);
            if (question === undefined) return failure('body_too_large');
            text = rust(() => meter.leasesAsked(question, now()));
            break;
          }
          case 'leases':
            return leases(env, ctx, step);
          case 'metrics':
            return scraped();
          default:
            return failure('internal');
        }
      }
    }
  }
}

function failed(error) {
  // That is the client's fault, and nothing to look into.
  if (error instanceof BodyError) return failure(error.message);
  log('a request failed', error);
  return failure('internal');
}

async function serveInternal(request, url, env, ctx) {
  const internal = await served(request, env) ?? (env.METER_TEST === '1' && await tested(request, env, ctx));
  return internal || serve(request, url, env, ctx);
}

// What Rust must know before any request.
function settings(env, continent) {
  const rules = [env.METER_BILL, env.METER_SHADOW, env.METER_METRICS_TOKEN];
  const counters = [env.COUNTERS, env.REDIS_URL, env.REDIS_REPLICAS, env.REDIS_ACCEPT_LOSS];
  const lines = [env.METER_REGION, continent, env.METER_SUB_HOMES, ...rules, ...counters];
  meter.configure(
    env.METER_KEY_SECRETS ?? '', env.METER_SIGNING_KEYS ?? '', env.METER_ROUTES ?? '',
    lines.map(text => text ?? '').join('\n'), crypto.getRandomValues(new Uint32Array(4)),
  );
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
