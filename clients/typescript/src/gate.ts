// Asks the edge whether a request may be served. It never asks twice for one request: the first question may have been
// counted, although its answer was lost.

import type { components } from "./generated/edge.js";
import { isProblem, PROBLEM_TYPE, type Problem } from "./problem.js";

export type Kind = components["schemas"]["Kind"];
export type Check = components["schemas"]["CheckAnswer"];

/** What is asked. */
export interface Question {
  /** The project key of whoever calls; undefined is answered 401, as the edge does. */
  key: string | undefined;
  /** What is to be done. */
  kind: Kind;
  /** Who is to do it; `unknown`, as the edge says, where it is left out. */
  agent?: string | undefined;
  /** Units that it costs; 1 where it is left out. */
  cost?: number | undefined;
}

export interface GateOptions {
  /** The edge's address, such as `https://edge.example.com`. */
  edge: string;
  /**
   * What happens while the edge cannot be asked: `"deny"` (the default) answers 503, so that nothing is served that is
   * not counted; `"allow"` serves it, uncounted and unbilled.
   */
  whenUnreachable?: "deny" | "allow";
  /** After how many milliseconds the edge counts as not reachable. Default 2,000. */
  timeoutMs?: number;
  /** Hears of each question that was not answered. */
  onUnreachable?: (reason: unknown) => void;
  /** What sends; the platform's where it is left out. */
  fetch?: typeof globalThis.fetch;
}

/** What came of a question. `headers` belong on the answer to the client in either case. */
export type Decision =
  | { allowed: true; headers: [string, string][]; check?: Check }
  | { allowed: false; headers: [string, string][]; status: number; problem: Problem };

const TIMEOUT_MS = 2_000;
const PAGES = "https://docs.palveron.com/errors/";
const PASSED_ON = ["RateLimit-Policy", "RateLimit", "Palveron-Source", "Retry-After", "WWW-Authenticate"];

// How the edge itself answers these where it forwards a request.
const DENIALS: Record<string, [status: number, title: string, detail: string]> = {
  quota_exhausted: [402, "The monthly quota is used up", "The quota begins anew at resets_at."],
  project_suspended: [403, "The project is suspended", "Its owner can see why under Billing."],
  agent_limit: [403, "The plan's agents are all in use", "Send the id of one of them in Palveron-Agent, or upgrade."],
  rate_limited: [
    429,
    "Too many requests in this minute",
    "Wait for the seconds in Retry-After, then send the request again.",
  ],
  quota_contended: [
    429,
    "The rest of the quota is in use elsewhere",
    "Wait for the seconds in Retry-After, then send the request again.",
  ],
};
const OF_THE_MONTH = new Set(["quota_exhausted", "agent_limit"]);

/** A gate that asks that edge. */
export class Gate {
  readonly #url: URL;
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#url = new URL("/v1/check", options.edge);
    this.#options = options;
  }

  /** Decides one request; never throws for what the edge or the network does. */
  async ask({ key, kind, agent, cost }: Question): Promise<Decision> {
    const { fetch = globalThis.fetch, timeoutMs = TIMEOUT_MS } = this.#options;
    const headers: Record<string, string> = { "Content-Type": "application/json" };
    if (key !== undefined) headers["Authorization"] = `Bearer ${key}`;
    try {
      const answer = await fetch(this.#url, {
        method: "POST",
        headers,
        body: JSON.stringify({ kind, agent, cost }),
        redirect: "error",
        signal: AbortSignal.timeout(timeoutMs),
      });
      return read(answer, await answer.json());
    } catch (reason) {
      this.#options.onUnreachable?.(reason);
      return unreachable(this.#options.whenUnreachable ?? "deny");
    }
  }
}

function read(answer: Response, body: unknown): Decision {
  const headers = PASSED_ON.flatMap((name): [string, string][] => {
    const value = answer.headers.get(name);
    return value ? [[name, value]] : [];
  });
  // The edge itself is not well, or it is not the edge that answers.
  if (answer.status >= 500) throw new Error(`the edge answered ${answer.status}`);
  if (answer.status !== 200) {
    if (!isProblem(body)) throw new Error(`the edge answered ${answer.status} without a problem`);
    return { allowed: false, headers, status: answer.status, problem: body };
  }
  const check = body as Check;
  if (typeof check.allowed !== "boolean") throw new Error("what answered is not the edge");
  if (check.allowed) {
    if (check.would_deny) headers.push(["Palveron-Would-Deny", check.would_deny]);
    return { allowed: true, headers, check };
  }
  if (check.retry_after_ms !== null) {
    headers.push(["Retry-After", String(Math.max(1, Math.ceil(check.retry_after_ms / 1000)))]);
  }
  const problem = denied(check);
  return { allowed: false, headers, status: problem.status, problem };
}

function denied({ code, resets_at }: Check): Problem {
  // A code of a later release is a denial all the same.
  const [status, title, detail] = DENIALS[code] ?? [403, "The request is denied", "The edge denied it."];
  const problem: Problem = { type: PAGES + code, title, status, code, detail };
  return OF_THE_MONTH.has(code) ? { ...problem, resets_at } : problem;
}

function unreachable(then: "deny" | "allow"): Decision {
  if (then === "allow") return { allowed: true, headers: [] };
  const code = "home_unavailable";
  const problem: Problem = {
    type: PAGES + code,
    title: "The limits cannot be checked at present",
    status: 503,
    code,
    detail: "The limits cannot be checked at present. Send the request again in a moment.",
  };
  return { allowed: false, headers: [["Retry-After", "1"]], status: 503, problem };
}

/** The headers and the body of a denial. */
export function denial({ headers, problem }: Decision & { allowed: false }): [[string, string][], string] {
  return [[...headers, ["Content-Type", PROBLEM_TYPE]], JSON.stringify(problem)];
}

/** The key of `Authorization: Bearer …`. */
export function bearer(authorization: string | null | undefined): string | undefined {
  return /^bearer +(\S+)$/i.exec(authorization ?? "")?.[1];
}
