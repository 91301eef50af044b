// Answers as Rust words them.

import { meter, rust } from './platform.js';

export function answer(step) {
  return new Response(step.body, { status: step.status, headers: step.headers });
}

export const failure = code => answer(JSON.parse(rust(() => meter.failure(code))));
