// As object_sql.js, but the count is only a field of the object: fast, and lost whenever the object is evicted,
// moved or restarted.

import { DurableObject } from 'cloudflare:workers';
import { answer, travel } from './answer.js';

export class Counter extends DurableObject {
  used = 0;

  increment() {
    return ++this.used;
  }
}

export default {
  async fetch(request, env) {
    const counter = env.COUNTER.getByName(request.headers.get('authorization'));
    await travel(env);
    return answer(await counter.increment());
  },
};
