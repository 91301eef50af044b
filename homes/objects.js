// What the objects of both classes have in common.

import { configure, isConfigured, meter } from './platform.js';

// Homes need the keys that flushes are signed with and policies verified by, and nothing else.
export function ready(env) {
  if (!isConfigured()) configure(() => meter.configure(env.METER_SIGNING_KEYS ?? ''));
}

// Finds homes by their names.
export const homes = env => name => env.HOME.getByName(name);

// A Durable Object's SQL as Rust has it: the texts of a statement's rows, row by row.
export const texts = sql => ({ exec: (statement, values) => [...sql.exec(statement, ...values).raw()].flat().map(String) });
