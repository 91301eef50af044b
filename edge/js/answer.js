// Answers as Rust words them.

import { meter, rust } from './platform.js';

/** @param {import('./contract.js').Answer} answer */
export function answer({ body, status, headers }) {
  return new Response(body, { status, headers });
}

export const failure = code => answer(JSON.parse(rust(() => meter.failure(code))));
