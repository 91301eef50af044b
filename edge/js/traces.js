// Spans of what a request has waited for, for an OpenTelemetry collector: OTLP, as JSON over HTTP.
//
// Nothing here is called for what a lease has answered, nor where OTEL_EXPORTER_OTLP_ENDPOINT is not set. What is sent
// must never hold a secret: spans have names, projects and numbers; no header, query, body or key.

import { log, seed, wall } from './platform.js';

/**
 * What others are told of a span: by its id they go on with its trace.
 * @typedef {{ trace: string, id: string, parent?: string }} Context
 * @typedef {Context & {
 *   parent: string, name: string, kind: number, start: number, end: number, links: Set<Context>, failed: boolean,
 *   attributes: Record<string, string | number>,
 * }} Span
 */

// As OTLP numbers them.
const SERVER = 2, CLIENT = 3, ERROR = 2;
// W3C trace context; ids of zeros are none. Whatever a later version adds is behind these.
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/;
// As many spans wait at most; what comes then is lost.
const QUEUE_MAX = 2048;
// OpenTelemetry's own pause between two batches, and the longest that a request's end may wait for.
const PAUSE_MS = 5000, PAUSE_MS_MAX = 20000;
// Whoever was to send and has not by then was ended by the platform.
const LOST_MS = 30000;
const SEND_MS = 10000;
// What a flush carries may be of far more requests; so many lead to it.
const LINKS_MAX = 32;

export const isTraced = env => Boolean(env.OTEL_EXPORTER_OTLP_ENDPOINT);

export const traceparent = (/** @type {Context} */ { trace, id }) => `00-${trace}-${id}-01`;

/** @type {Span[]} */
const queue = [];
let sending_since = -Infinity;

const random = () => seed().toString(16).padStart(16, '0');

/**
 * @param {Context | undefined} parent
 * @param {number} kind
 * @returns {Span}
 */
function begun(parent, kind, name, attributes, links) {
  const { trace = random() + random(), id = '' } = parent ?? {};
  return { trace, id: random(), parent: id, name, kind, start: wall(), end: 0, attributes, links: new Set(links), failed: false };
}

// Whether a trace is kept, by the rules and the names of OpenTelemetry; `flags` are of who calls, if anybody does.
function isKept(env, trace, flags) {
  const sampler = env.OTEL_TRACES_SAMPLER || 'parentbased_always_on';
  if (flags !== undefined && sampler.startsWith('parentbased_')) return (parseInt(flags, 16) & 1) === 1;
  if (sampler.endsWith('always_off')) return false;
  if (!sampler.endsWith('traceidratio')) return true;
  const ratio = Number(env.OTEL_TRACES_SAMPLER_ARG || 1);
  // All who see a trace decide alike: by the same 52 bits of its id.
  return parseInt(trace.slice(16, 29), 16) < ratio * 2 ** 52;
}

// The span of a call that has come with that header, or none; undefined where it is not kept.
export function received(env, header, name, attributes) {
  const [, trace, id, flags] = TRACEPARENT.exec(header ?? '') ?? [];
  const span = begun(trace === undefined ? undefined : { trace, id }, SERVER, name, attributes, []);
  return isKept(env, span.trace, flags) ? span : undefined;
}

// The span of a call to others: of that parent, else of those that it is linked to. Undefined where nobody asked for it.
/**
 * @param {Context | undefined} parent
 * @param {Context[]} links
 */
export function sent(parent, links, name, attributes) {
  return parent || links.length > 0 ? begun(parent, CLIENT, name, attributes, links) : undefined;
}

// The same where it is made without them, too, unless its trace is not kept.
export function sentAnyway(env, links, name, attributes) {
  const span = begun(undefined, CLIENT, name, attributes, links);
  return links.length > 0 || isKept(env, span.trace) ? span : undefined;
}

// Ends a span when what it is of has ended, and comes to the same.
/**
 * @template T
 * @param {Span | undefined} span
 * @param {() => Promise<T>} act
 * @returns {Promise<T>}
 */
export async function during(env, ctx, span, act) {
  if (!span) return act();
  try {
    return await act();
  } catch (error) {
    span.failed = true;
    throw error;
  } finally {
    ended(env, ctx, span);
  }
}

// Hands a span over to whoever sends next.
/** @param {Span} span */
function ended(env, ctx, span) {
  span.end = wall();
  if (queue.length < QUEUE_MAX) queue.push(span);
  // Nothing of another request may be waited for, so whoever comes first takes the time itself.
  if (wall() - sending_since < LOST_MS) return;
  sending_since = wall();
  ctx.waitUntil(send(env));
}

async function send(env) {
  const pause_ms = Number(env.OTEL_BSP_SCHEDULE_DELAY || PAUSE_MS);
  await scheduler.wait(Math.min(pause_ms >= 0 ? pause_ms : PAUSE_MS, PAUSE_MS_MAX));
  sending_since = -Infinity;
  const spans = queue.splice(0);
  try {
    const url = `${env.OTEL_EXPORTER_OTLP_ENDPOINT.replace(/\/+$/, '')}/v1/traces`;
    // Where a binding says which network that is, as workerd's configuration does, nothing else is in reach.
    const response = await (env.COLLECTOR ?? globalThis).fetch(url, {
      method: 'POST', headers: headers(env), body: encoded(env, spans), signal: AbortSignal.timeout(SEND_MS),
    });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`the collector answered ${response.status}`);
  } catch (error) {
    log('spans were not sent', error);
  }
}

function headers(env) {
  const all = new Headers({ 'content-type': 'application/json' });
  try {
    for (const pair of (env.OTEL_EXPORTER_OTLP_HEADERS ?? '').split(',').filter(Boolean)) {
      const at = pair.indexOf('=');
      all.set(pair.slice(0, at).trim(), decodeURIComponent(pair.slice(at + 1).trim()));
    }
  } catch {
    // What they are is not repeated: they are secrets.
    throw new Error('OTEL_EXPORTER_OTLP_HEADERS: accepted are headers such as api-key=secret,x-team=meter');
  }
  return all;
}

function encoded(env, spans) {
  const service = env.OTEL_SERVICE_NAME || 'palveron-edge';
  const resource = { attributes: pairs({ 'service.name': service }) };
  return JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'palveron-edge' }, spans: spans.map(told) }] }] });
}

/** @param {Span} span */
const told = ({ trace, id, parent, name, kind, start, end, attributes, links, failed }) => ({
  traceId: trace,
  spanId: id,
  parentSpanId: parent,
  name,
  kind,
  startTimeUnixNano: nanos(start),
  endTimeUnixNano: nanos(end),
  attributes: pairs(attributes),
  // What is below it needs no link.
  links: [...links].filter(link => link.parent !== id).map(link => ({ traceId: link.trace, spanId: link.id })),
  status: failed ? { code: ERROR } : {},
});

const nanos = ms => `${ms}000000`;

const pairs = attributes => Object.entries(attributes).map(([key, value]) => (
  { key, value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value } }
));

// Whose a home is, as spans say it.
export function whose(name) {
  const [project, mode] = name.split('/');
  return { 'project.id': project, mode };
}

// Spans that something which comes later will be linked to.
export class Awaited {
  /** @type {Context[]} */
  #spans = [];

  /** @param {Span | undefined} span */
  add(span) {
    if (span && this.#spans.length < LINKS_MAX) this.#spans.push({ trace: span.trace, id: span.id });
    return this;
  }

  all() {
    return [...this.#spans];
  }

  // Forgets the first of them, which have arrived.
  forget(count) {
    this.#spans.splice(0, count);
  }
}
