// The little of Redis' protocol that INCR needs.

import { connect } from 'cloudflare:sockets';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const open = env => connect(env.REDIS_ADDRESS);

export function increment(key) {
  return encoder.encode(`*2\r\n$4\r\nINCR\r\n$${key.length}\r\n${key}\r\n`);
}

// Yields the integer replies as they arrive, whatever the pieces they arrive in.
export async function* replies(socket) {
  let text = '';
  for await (const chunk of socket.readable) {
    text += decoder.decode(chunk, { stream: true });
    let end;
    while ((end = text.indexOf('\r\n')) >= 0) {
      const line = text.slice(0, end);
      text = text.slice(end + 2);
      if (line[0] !== ':') throw new Error(`Redis said ${line}`);
      yield Number(line.slice(1));
    }
  }
}
