// The calls of the interface. Every answer comes with the instant it is true for; every refusal is a problem.
import createClient from "openapi-fetch";
import { signal } from "@preact/signals";
import type { components, paths } from "#api";

export type Schemas = components["schemas"];

export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  field?: string | null;
}

/** A call that was not done, and why. */
export class Refused extends Error {
  constructor(
    readonly problem: Problem,
    readonly retryAfter: number | null = null,
  ) {
    super(problem.detail);
  }
}

export interface Answer<T> {
  data: T;
  /** The instant that the figures are true for. */
  asOf: string;
  /** The last event of the live stream that they include. */
  watermark: number | null;
}

/** What calls that change something must carry; it comes with the session. */
export const csrf = signal("");

/** Told when a call finds that nobody is signed in any more. */
export const signedOut = { tell: (): void => {} };

const client = createClient<paths>({ baseUrl: location.origin, fetch: send });
export const api = client;

async function send(request: Request): Promise<Response> {
  if (request.method !== "GET") request.headers.set("palveron-csrf", csrf.value);
  try {
    return await fetch(request);
  } catch (error) {
    if (request.signal.aborted) throw error;
    throw new Refused({
      type: "",
      title: "The server cannot be reached",
      status: 0,
      code: "unreachable",
      detail: "There was no answer. Check your connection, then try again; what was shown before may be old.",
    });
  }
}

interface Settled {
  data?: unknown;
  error?: unknown;
  response: Response;
}

/** What a call answered, or its problem thrown. */
export async function settle<R extends Settled>(call: Promise<R>): Promise<Answer<Exclude<R["data"], undefined>>> {
  const { data, error, response } = await call;
  if (!response.ok) throw await refused(response, error);
  return { data: data as Exclude<R["data"], undefined>, ...instant(response) };
}

/** How far the server's clock is ahead of the reader's, where that is worth telling: it may be another day there. */
const ahead = signal(0);
const AHEAD_MS_MIN = 60_000;

/** Now, by the server's clock. */
export const serverNow = (): number => Date.now() + ahead.value;

function instant(response: Response): { asOf: string; watermark: number | null } {
  const told = response.headers.get("palveron-as-of");
  const mark = response.headers.get("palveron-watermark");
  const date = response.headers.get("date");
  if (told) {
    const difference = Date.parse(told) - Date.now();
    ahead.value = Math.abs(difference) < AHEAD_MS_MIN ? 0 : difference;
  }
  return {
    asOf: told ?? (date ? new Date(date).toISOString() : new Date().toISOString()),
    watermark: mark === null ? null : Number(mark),
  };
}

async function refused(response: Response, error: unknown): Promise<Refused> {
  const known = (typeof error === "object" && error !== null ? error : {}) as Partial<Problem>;
  const problem: Problem = {
    type: known.type ?? "",
    title: known.title ?? "The server refused the call",
    status: response.status,
    code: known.code ?? "unknown",
    detail: known.detail ?? `It answered with status ${response.status} and no reason. Try again in a moment.`,
    field: known.field ?? null,
  };
  if (problem.status === 401 && problem.code === "unauthorized") signedOut.tell();
  const after = response.headers.get("retry-after");
  return new Refused(problem, after === null ? null : Number(after));
}

/** Anything that was thrown, as a problem. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  return {
    type: "",
    title: "The page made a mistake",
    status: 0,
    code: "page",
    detail: error instanceof Error ? error.message : String(error),
  };
}
