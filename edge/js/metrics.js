// How many answers this isolate has given, by path and status. What is asked for makes no path of its own, so that
// nobody can fill this; Rust says which paths there are, and writes the text.

import { meter, rust } from './platform.js';

const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8';
// All other paths.
const OTHER = 'other';

/** @type {string[] | undefined} */
let paths;
/** @type {Map<string, Map<number, number>>} */
const answers = new Map();

// The path that an answer to this address is counted under.
export function pathOf(url) {
  const from = url.indexOf('/', 8);
  const query = url.indexOf('?', from);
  const path = url.slice(from, query < 0 ? undefined : query);
  return paths?.find(known => path.startsWith(known) && (path.length === known.length || path[known.length] === '/')) ?? OTHER;
}

// Counts a response, and hands it on.
export function tally(url, response) {
  // An isolate that is not configured knows of no path.
  if (!paths) try { paths = rust(() => meter.countedPaths()); } catch { return response; }
  const path = pathOf(url);
  let statuses = answers.get(path);
  if (!statuses) answers.set(path, statuses = new Map());
  statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
  return response;
}

export function scraped() {
  const all = [...answers].flatMap(([path, statuses]) => [...statuses].map(([status, count]) => ({ path, status, count })));
  return new Response(rust(() => meter.metrics(JSON.stringify(all))), { headers: { 'Content-Type': TEXT_FORMAT } });
}
