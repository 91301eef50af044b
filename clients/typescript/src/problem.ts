// Refusals as the meter writes them: problem details (RFC 9457) with a stable code.

import type { components } from "./generated/aggregator.js";

/** The body of a refusal. Branch on its `code`; each has a page at `type`. */
export type Problem = components["schemas"]["Problem"];

export const PROBLEM_TYPE = "application/problem+json";

/** A call that was refused. */
export class MeterError extends Error {
  override readonly name = "MeterError";

  constructor(
    readonly problem: Problem,
    /** After how many seconds the same call may be sent again; undefined where waiting does not help. */
    readonly retryAfterSeconds?: number,
  ) {
    super(`${problem.code}: ${problem.detail}`);
  }

  get code(): string {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }
}

/** Whether a body is a problem of the meter, and not, say, the page of a proxy in between. */
export function isProblem(body: unknown): body is Problem {
  if (typeof body !== "object" || body === null) return false;
  const { code, status, detail } = body as Partial<Problem>;
  return typeof code === "string" && typeof status === "number" && typeof detail === "string";
}

/** The seconds of `Retry-After`, which is a number or a date. */
export function retryAfterSeconds(headers: Headers, now = Date.now()): number | undefined {
  const text = headers.get("Retry-After");
  if (text === null) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}
