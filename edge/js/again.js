// The same question again: most requests are one that was allowed a moment ago. What it is answered with is kept here,
// with room for the numbers that change; Rust decides it by its number, and tells no more than those.

import { meter, nowMs, rust } from './platform.js';

/** @import { Answer, Forward, Remembered, Instruction } from './contract.js' */

// With Rust's limit of numbers a few megabytes at most.
const QUESTION_CHARS_MAX = 1024;
// What `meter.left` tells.
const PERMITS = 0, MINUTE = 1, UNITS = 2, MONTH = 3;

/**
 * A question that was allowed. `init` is of a check's response; what is forwarded has none, but the path it goes to.
 * @typedef {{ told: Answer | Forward, known: Remembered, path: string, restless: boolean, init?: { headers: Headers } }} Kept
 */

/** @type {Map<string, Kept>} */
const questions = new Map();

// What is known of a question.
export const known = question => questions.get(question);

// Whether a known question is allowed again. If not, nothing has happened, and it is to be asked at length.
/** @param {Kept} kept */
export function again(kept, header_bytes, body_bytes) {
  const said = rust(() => meter.again(kept.known.number, header_bytes, body_bytes, nowMs()));
  kept.restless = said === 2;
  return said > 0;
}

// Keeps what Rust has told about a question that it numbers.
/**
 * @param {{ question?: string, path: string }} asked
 * @param {Instruction} told
 */
export function keep({ question, path }, told) {
  const { known } = told;
  if (!known) return;
  // All others are forgotten.
  if (known.number === 0) questions.clear();
  if (question === undefined || question.length > QUESTION_CHARS_MAX) return;
  const kept = { told: /** @type {Answer | Forward} */ (told), known, path, restless: false };
  // Copying headers is cheaper than making them of texts.
  questions.set(question, told.do === 'answer' ? { ...kept, init: { headers: new Headers(told.headers) } } : kept);
}

// The response to a check that has just been allowed.
/** @param {Kept} kept */
export function checked({ init, known: { limit, body: [before, after] = [''] } }) {
  init?.headers.set('RateLimit', filled(limit));
  return new Response(after === undefined ? before : before + meter.left(UNITS) + after, init);
}

// What is left, in the words of a known question.
/** @param {string[]} pieces */
export function filled([permits, minute, units, month, end]) {
  const text = permits + meter.left(PERMITS) + minute + meter.left(MINUTE) + units;
  return month === undefined ? text : text + meter.left(UNITS) + month + meter.left(MONTH) + end;
}
