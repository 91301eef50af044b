// What every baseline with headers answers: the body and the headers of our decision endpoint, letter for
// letter but for the numbers. A baseline that counts says its count; the others say that nothing was used.

const ALLOWANCE = 1_000_000_000;
const RPM = 1_000_000;
// As long as the real one; making it anew for each answer would only slow the baselines down.
const RESETS_AT = '2030-01-01T00:00:00Z';

export function headers(used) {
  const minuteLeft = 60 - Math.floor(Date.now() / 1000) % 60;
  return {
    'content-type': 'application/json',
    'ratelimit-policy': `"rpm";q=${RPM};w=60, "month";q=${ALLOWANCE};w=2592000`,
    ratelimit: `"rpm";r=${Math.max(0, RPM - used)};t=${minuteLeft}, "month";r=${ALLOWANCE - used};t=648000`,
    'server-timing': 'meter;desc=none',
  };
}

export function answer(used) {
  const body = JSON.stringify({
    allowed: true, code: 'ok', kind: 'verify', cost: 1,
    remaining: ALLOWANCE - used, limit: ALLOWANCE, resets_at: RESETS_AT, retry_after_ms: null,
  });
  return new Response(body, { headers: headers(used) });
}

// Stands for the way to an object in another place; zero unless the benchmark says otherwise.
export async function travel(env) {
  const ms = Number(env.HOME_DELAY_MS ?? 0);
  if (ms > 0) await scheduler.wait(ms);
}
