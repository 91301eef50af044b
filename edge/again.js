// The same question again: most requests are one that was allowed a moment ago. What it is answered with is kept here,
// with room for the numbers that change; Rust decides it by its number, and tells no more than those.

import { meter, nowMs, rust } from './platform.js';

// With Rust's limit of numbers a few megabytes at most.
const QUESTION_CHARS_MAX = 1024;
// What `meter.left` tells.
const PERMITS = 0, MINUTE = 1, UNITS = 2, MONTH = 3;
// Where the lines of what is forwarded, and of what is not, say what is left.
const LIMIT = { f: 2, c: 3 };

const questions = new Map();

// What is known of a question.
export const known = question => questions.get(question);

// Whether a known question is allowed again. If not, nothing has happened, and it is to be asked at length.
export function again(answer, header_bytes, body_bytes) {
  const said = rust(() => meter.again(answer.number, header_bytes, body_bytes, nowMs()));
  answer.restless = said === 2;
  return said > 0;
}

// Keeps what Rust has told about a question that it numbers.
export function keep({ question, path }, lines, home, number, restless) {
  // All others are forgotten.
  if (number === 0) questions.clear();
  const forwards = lines[0][0] === 'f';
  const limit = lines[forwards ? LIMIT.f : LIMIT.c].split('\t');
  const answer = { number, home, path, restless, forwards, lines, limit };
  if (!forwards) {
    const [, type, policy, , timing, source] = lines;
    answer.body = lines.at(-1).split('\t');
    // Copying headers is cheaper than making them of texts.
    const headers = new Headers({
      'Content-Type': type, 'RateLimit-Policy': policy, RateLimit: '', 'Server-Timing': timing,
    });
    // Before the body, where something is counted.
    if (lines.length > 6) headers.set('Palveron-Source', source);
    answer.init = { headers };
  }
  if (question?.length <= QUESTION_CHARS_MAX) questions.set(question, answer);
  return answer;
}

// The response to a check that has just been allowed.
export function checked({ init, limit, body: [before, after] }) {
  init.headers.set('RateLimit', left(limit));
  return new Response(after === undefined ? before : before + meter.left(UNITS) + after, init);
}

// The lines for a request that has just been allowed and is forwarded.
export function filled({ lines, limit }) {
  lines[LIMIT.f] = left(limit);
  return lines;
}

function left([permits, minute, units, month]) {
  const text = permits + meter.left(PERMITS) + minute + meter.left(MINUTE);
  return month === undefined ? text : text + units + meter.left(UNITS) + month + meter.left(MONTH);
}
