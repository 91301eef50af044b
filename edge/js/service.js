// The decision as a method that other workers call over a service binding, without HTTP:
// `await env.METER.check({ key, kind, agent, cost, dry_run })` answers what `POST /v1/check` does.

import { WorkerEntrypoint } from 'cloudflare:workers';
import worker from './entry.js';

export class Meter extends WorkerEntrypoint {
  // Decides for the project that the key is of, and counts what it allows unless it is a dry run.
  // Resolves to { allowed, code, kind, cost, remaining, limit, resets_at, retry_after_ms }; what
  // cannot be decided, such as a key that nobody knows, is not allowed, and its code says why.
  async check({ key, ...asked }) {
    const answer = await this.#call('/v1/check', key, asked);
    if (answer.status === 200) return answer.body;
    return { allowed: false, code: answer.body.code, detail: answer.body.detail };
  }

  // Notes LLM tokens and anchors; resolves to what was noted, or to { code, detail }.
  async observe({ key, ...observed }) {
    const { status, body } = await this.#call('/v1/observe', key, observed);
    return status === 200 ? body : { code: body.code, detail: body.detail };
  }

  async #call(path, key, fields) {
    const body = JSON.stringify(fields);
    const request = new Request(new URL(path, 'http://meter'), {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': String(new TextEncoder().encode(body).length) },
      body,
    });
    const response = await worker.fetch(request, this.env, this.ctx);
    return { status: response.status, body: await response.json() };
  }
}
