// Sending again, and only what may be sent again.
//
// 429 and 503 say that nothing was done, so that any call may come again after `Retry-After`. No answer at all says
// nothing: only calls that change nothing when they come twice are repeated then.

import { retryAfterSeconds } from "./problem.js";

export interface RetryOptions {
  /** How often a call is sent at most; 1 never repeats. Default 4. */
  attemptsMax?: number;
  /** A longer wait is left to the caller: a quota that begins anew next month is not waited for. Default 10 s. */
  waitMaxMs?: number;
  /** For tests. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

const ATTEMPTS_MAX = 4;
const WAIT_MAX_MS = 10_000;
// Where the answer names no time; doubled with each attempt.
const PAUSE_MS = 200;
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);
const NOTHING_DONE = new Set([429, 503]);

/** A `fetch` that repeats what may be repeated. */
export function retrying(fetch: typeof globalThis.fetch, options: RetryOptions = {}): typeof globalThis.fetch {
  const { attemptsMax = ATTEMPTS_MAX, waitMaxMs = WAIT_MAX_MS, wait = pause } = options;
  return async (input, init) => {
    const request = new Request(input, init);
    const comesTwice = SAFE.has(request.method) || request.headers.has("Idempotency-Key");
    for (let attempt = 1; ; attempt += 1) {
      // A share that others do not send at the same moment.
      const backoff = PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
      let answer: Response | undefined;
      try {
        answer = await fetch(request.clone());
      } catch (error) {
        if (attempt >= attemptsMax || !comesTwice || request.signal.aborted) throw error;
      }
      if (answer && (attempt >= attemptsMax || !NOTHING_DONE.has(answer.status))) return answer;
      const named = answer && retryAfterSeconds(answer.headers);
      const ms = named === undefined ? backoff : named * 1000 + backoff;
      if (answer && ms > waitMaxMs) return answer;
      await answer?.body?.cancel();
      await wait(ms, request.signal);
    }
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    function stop() {
      clearTimeout(timer);
      reject(signal.reason);
    }
    signal.addEventListener("abort", stop, { once: true });
  });
}
