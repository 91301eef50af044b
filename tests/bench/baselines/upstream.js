// What stands behind every variant that forwards, inside the same process: reads the body and says ok.

export default {
  async fetch(request) {
    await request.arrayBuffer();
    return new Response('{"ok":true}', { headers: { 'content-type': 'application/json' } });
  },
};
