// A limit as the platform's documents advise it: one Durable Object per key, asked by RPC for each request,
// which keeps its count in SQL. One statement per request; the output gate holds the reply until it is durable.

import { DurableObject } from 'cloudflare:workers';
import { answer, travel } from './answer.js';

export class Counter extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    ctx.storage.sql.exec('CREATE TABLE IF NOT EXISTS used (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)');
  }

  increment() {
    return this.ctx.storage.sql.exec(
      'INSERT INTO used VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = n + 1 RETURNING n',
    ).one().n;
  }
}

export default {
  async fetch(request, env) {
    const counter = env.COUNTER.getByName(request.headers.get('authorization'));
    await travel(env);
    return answer(await counter.increment());
  },
};
