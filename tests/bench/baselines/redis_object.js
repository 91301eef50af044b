// Redis behind a Durable Object, which may keep a socket between requests. All of its INCRs share one connection
// and are pipelined, as Redis clients do; replies come in the order of the commands.

import { DurableObject } from 'cloudflare:workers';
import { answer } from './answer.js';
import { increment, open, replies } from './redis.js';

export class Counter extends DurableObject {
  #writer;
  #waiting = [];

  increment(key) {
    if (!this.#writer) {
      const socket = open(this.env);
      this.#writer = socket.writable.getWriter();
      this.#read(socket, this.#waiting);
    }
    const reply = Promise.withResolvers();
    this.#waiting.push(reply);
    this.#writer.write(increment(key)).catch(reply.reject);
    return reply.promise;
  }

  // Hands out the replies; when the connection ends, whoever still waits is told, and the next call reconnects.
  async #read(socket, waiting) {
    let reason = new Error('Redis closed the connection');
    try {
      for await (const used of replies(socket)) waiting.shift().resolve(used);
    } catch (error) {
      reason = error;
    }
    this.#writer = undefined;
    this.#waiting = [];
    for (const reply of waiting) reply.reject(reason);
  }
}

export default {
  async fetch(request, env) {
    const key = request.headers.get('authorization');
    return answer(await env.COUNTER.getByName(key).increment(key));
  },
};
