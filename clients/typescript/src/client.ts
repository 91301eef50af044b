// Clients of both servers. Every path, field and answer is typed from the servers' own descriptions.

import createClient, { type Client, type Middleware } from "openapi-fetch";
import type { paths as AggregatorPaths } from "./generated/aggregator.js";
import type { paths as EdgePaths } from "./generated/edge.js";
import { isProblem, MeterError, retryAfterSeconds } from "./problem.js";
import { retrying, type RetryOptions } from "./retry.js";

export interface ClientOptions extends RetryOptions {
  /** The server's address, such as `https://meter.example.com`. */
  url: string;
  /** A token of the aggregator, or a project key of the edge. */
  token: string;
  /** What sends; the platform's where it is left out. */
  fetch?: typeof globalThis.fetch;
}

export type Aggregator = Client<AggregatorPaths, "application/json">;
export type Edge = Client<EdgePaths, "application/json">;

/** A client of the aggregator: projects, keys, usage, billing, webhooks. */
export function aggregator(options: ClientOptions): Aggregator {
  const client = createClient<AggregatorPaths>(settings(options));
  client.use(named);
  return client;
}

/** A client of the edge: decisions, quota, observations. */
export function edge(options: ClientOptions): Edge {
  return createClient<EdgePaths>(settings(options));
}

/** What a call was answered; a refusal is thrown as a `MeterError`. */
export async function taken<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (response.ok) return data as T;
  const { status, statusText } = response;
  const problem = isProblem(error)
    ? error
    : { type: "about:blank", title: statusText, status, code: "unknown", detail: `answered with status ${status}` };
  throw new MeterError(problem, retryAfterSeconds(response.headers));
}

// A call that changes something gets a name, so that it does so once however often it has to be sent.
const named: Middleware = {
  onRequest({ request }) {
    const changes = !["GET", "HEAD", "OPTIONS"].includes(request.method);
    if (changes && !request.headers.has("Idempotency-Key")) request.headers.set("Idempotency-Key", crypto.randomUUID());
    return request;
  },
};

function settings({ url, token, fetch = globalThis.fetch, ...retry }: ClientOptions) {
  return { baseUrl: url, headers: { Authorization: `Bearer ${token}` }, fetch: retrying(fetch, retry) };
}
