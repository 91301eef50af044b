// Redis straight from a worker: a socket belongs to the request that opened it and cannot be kept for the next
// one, so each request connects, sends one INCR, and closes.

import { answer } from './answer.js';
import { increment, open, replies } from './redis.js';

export default {
  async fetch(request, env) {
    const socket = open(env);
    const writer = socket.writable.getWriter();
    await writer.write(increment(request.headers.get('authorization')));
    const { value } = await replies(socket).next();
    await socket.close();
    return answer(value);
  },
};
