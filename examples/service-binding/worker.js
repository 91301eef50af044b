// A worker of your own that asks the meter before it does its work: one method call over a service
// binding, decided by the isolate's lease in most cases. Nothing of the request goes to the meter.

export default {
  async fetch(request, env) {
    const key = (request.headers.get('authorization') ?? '').replace(/^Bearer /, '');
    const agent = request.headers.get('palveron-agent') ?? undefined;
    const decision = await env.METER.check({ key, kind: 'mcp_tool_call', agent, cost: 1 });
    if (!decision.allowed) {
      // `quota_exhausted`, `rate_limited`, `unauthorized`, …: see docs/errors.
      return Response.json({ refused: decision.code }, { status: decision.code === 'unauthorized' ? 401 : 429 });
    }
    const answer = await work(await request.text());
    await env.METER.observe({ key, kind: 'mcp_tool_call', agent, tokens_in: answer.read, tokens_out: answer.written });
    return Response.json({ said: answer.text, remaining: decision.remaining });
  },
};

// Whatever your worker is for.
async function work(prompt) {
  const text = prompt.toUpperCase();
  return { text, read: prompt.length, written: text.length };
}
