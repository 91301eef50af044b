import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { aggregator, MeterError, taken } from "@palveron/meter";
import { addressOf, operator } from "./world.mjs";

test("a refusal is thrown with its code, its page and its field", async () => {
  const create = body => taken(operator.POST("/api/v1/admin/projects", { body }));
  assert.equal((await create({ id: "twice", plan: "community" })).plan, "community");
  await assert.rejects(create({ id: "twice", plan: "community" }), error => {
    assert.ok(error instanceof MeterError);
    assert.deepEqual([error.code, error.status, error.retryAfterSeconds], ["project_exists", 409, undefined]);
    assert.match(error.problem.type, /project_exists$/);
    return true;
  });
  const refused = create({ id: "Not an id", plan: "community" }).catch(error => error);
  const { code, problem } = await refused;
  assert.deepEqual([code, problem.field], ["field_rejected", "id"]);
});

/** A proxy that loses the first answers: it has the call done, and then tells something else, or nothing. */
async function proxy(lose) {
  const calls = [];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { method, url, headers } = request;
    calls.push({ method, key: headers["idempotency-key"] });
    const lost = lose(calls.length);
    if (lost?.status) return response.writeHead(lost.status, lost.headers).end(lost.body);
    const forwarded = { authorization: headers.authorization, "content-type": headers["content-type"] ?? "" };
    if (headers["idempotency-key"]) forwarded["idempotency-key"] = headers["idempotency-key"];
    const body = method === "GET" ? undefined : Buffer.concat(parts);
    const answer = await fetch(process.env.METER_URL + url, { method, headers: forwarded, body });
    const text = await answer.text();
    if (lost) return response.destroy();
    return response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") }).end(text);
  }).listen(0, "127.0.0.1");
  return { calls, url: await addressOf(server), close: () => server.close() };
}

test("a change whose answer was lost is made once, under the same name", async () => {
  const { calls, url, close } = await proxy(call => (call <= 2 ? {} : undefined));
  const client = aggregator({ url, token: process.env.METER_TOKEN });
  const body = { id: "once", plan: "community" };
  const made = await taken(client.POST("/api/v1/admin/projects", { body }));
  assert.equal(made.id, "once");
  assert.equal(calls.length, 3);
  assert.match(calls[0].key, /^[0-9a-f-]{36}$/);
  assert.equal(new Set(calls.map(({ key }) => key)).size, 1);
  close();
});

test("what is busy is asked again after the time that it names, and no longer than the caller waits", async () => {
  const busy = seconds => ({ status: 503, headers: { "retry-after": String(seconds) }, body: "{}" });
  const waits = [];
  const wait = async ms => void waits.push(ms);
  const soon = await proxy(call => (call === 1 ? busy(2) : undefined));
  const token = process.env.METER_TOKEN;
  await taken(aggregator({ url: soon.url, token, wait }).GET("/api/v1/admin/projects"));
  assert.equal(waits.length, 1);
  assert.ok(waits[0] >= 2000 && waits[0] < 3000, `waited ${waits[0]} ms`);
  soon.close();
  const problem = { type: "about:blank", title: "busy", status: 503, code: "not_ready", detail: "busy" };
  const later = await proxy(() => ({ ...busy(3600), body: JSON.stringify(problem) }));
  const refused = taken(aggregator({ url: later.url, token, wait }).GET("/api/v1/admin/projects"));
  await assert.rejects(refused, { code: "not_ready", retryAfterSeconds: 3600 });
  assert.equal(later.calls.length, 1);
  later.close();
});

test("what is not of the meter is an error as well", async () => {
  const page = await proxy(() => ({ status: 404, headers: { "content-type": "text/html" }, body: "<h1>gone</h1>" }));
  const client = aggregator({ url: page.url, token: "none" });
  await assert.rejects(taken(client.GET("/api/v1/admin/projects")), { code: "unknown", status: 404 });
  page.close();
});
