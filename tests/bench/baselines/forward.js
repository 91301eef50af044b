// Forwards to the upstream and adds our headers to what comes back; limits nothing.

import { headers } from './answer.js';

export default {
  async fetch(request, env) {
    const upstream = await env.UPSTREAM.fetch(request);
    const response = new Response(upstream.body, upstream);
    const { 'content-type': _, ...added } = headers(0);
    for (const [name, value] of Object.entries(added)) response.headers.set(name, value);
    return response;
  },
};
