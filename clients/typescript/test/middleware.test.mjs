// Both middlewares before a real edge: the same requests, the same answers, and exactly what was served is reported.

import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, describe, test } from "node:test";
import { serve } from "@hono/node-server";
import { meter as onExpress } from "@palveron/meter/express";
import { meter as onHono } from "@palveron/meter/hono";
import express from "express";
import { Hono } from "hono";
import { addressOf, edgeUrl, project, reported } from "./world.mjs";

// On a machine that does much else at the same time nothing is to be learned from two seconds.
const real = { edge: edgeUrl, timeoutMs: 20_000 };
const open = [];
after(() => open.forEach(server => server.close()));

const frameworks = {
  express: options => {
    const app = express();
    app.post("/v1/verify", onExpress(options), (_, response) => void response.send("served"));
    return app.listen(0, "127.0.0.1");
  },
  hono: options => {
    const app = new Hono();
    app.post("/v1/verify", onHono(options), context => context.text("served"));
    return serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" });
  },
};

for (const [framework, start] of Object.entries(frameworks)) {
  const server = async options => {
    const started = start(options);
    open.push(started);
    return addressOf(started);
  };
  const call = (url, key, agent = "bot") =>
    fetch(`${url}/v1/verify`, {
      method: "POST",
      headers: { ...(key && { Authorization: `Bearer ${key}` }), "Palveron-Agent": agent },
    });
  /** What a denial says, beside what the edge says when it denies the same by itself. */
  const sameAsTheEdge = async (answer, key) => {
    const [told, own] = [await answer.json(), await call(edgeUrl, key)];
    const [{ detail: _, upgrade_url: __, resets_at, ...problem }, { detail, ...wanted }] = [await own.json(), told];
    if (wanted.resets_at) problem.resets_at = resets_at;
    assert.deepEqual([answer.status, wanted], [own.status, problem]);
    assert.equal(answer.headers.get("content-type"), own.headers.get("content-type"));
    assert.equal(answer.headers.get("ratelimit-policy"), own.headers.get("ratelimit-policy"));
    assert.equal(answer.headers.get("palveron-source"), own.headers.get("palveron-source"));
    assert.ok(detail.length > 10);
    return told;
  };

  describe(framework, () => {
    test("requests within the limits are served, and told what is left", async () => {
      const key = await project(`${framework}-served`, { rpm: 1000, included: 3 });
      const url = await server(real);
      for (const left of [2, 1, 0]) {
        const answer = await call(url, key);
        assert.deepEqual([answer.status, await answer.text()], [200, "served"]);
        assert.match(answer.headers.get("ratelimit"), new RegExp(`"month";r=${left};`));
        assert.match(answer.headers.get("ratelimit-policy"), /"month";q=3;/);
        assert.equal(answer.headers.get("palveron-source"), "included");
      }
      const denied = await call(url, key);
      assert.equal(denied.status, 402);
      assert.ok(Number(denied.headers.get("retry-after")) > 0);
      const problem = await sameAsTheEdge(denied, key);
      assert.equal(problem.code, "quota_exhausted");
      assert.match(problem.resets_at, /^\d{4}-\d\d-01T00:00:00/);
      const { agents } = await reported(`${framework}-served`, 3);
      assert.deepEqual(agents, [{ agent: "bot", units: 3 }]);
    });

    test("the minute's limit is 429 with the time to come back", async () => {
      const key = await project(`${framework}-busy`, { rpm: 2 });
      const url = await server(real);
      // A minute may turn between two calls, but not between all of them.
      const answers = [];
      while (answers.length < 6 && answers.at(-1)?.status !== 429) answers.push(await call(url, key));
      const denied = answers.at(-1);
      assert.equal(denied.status, 429);
      const seconds = Number(denied.headers.get("retry-after"));
      assert.ok(seconds >= 1 && seconds <= 60, `Retry-After: ${seconds}`);
      assert.equal((await denied.json()).code, "rate_limited");
      await reported(`${framework}-busy`, answers.length - 1);
    });

    test("keys are answered as the edge answers them", async () => {
      const url = await server(real);
      for (const key of [undefined, "pk_live_nobody_k001_1_00"]) {
        const denied = await call(url, key);
        assert.equal(denied.status, 401);
        assert.equal((await sameAsTheEdge(denied, key)).code, "unauthorized");
      }
    });

    test("kind, cost, key and agent can be those of the request", async () => {
      const key = await project(`${framework}-own`, { rpm: 1000 });
      const options = { kind: () => "mcp_tool_call", cost: () => 5, key: () => key, agent: () => "own" };
      const url = await server({ ...real, ...options });
      assert.equal((await call(url)).status, 200);
      const usage = await reported(`${framework}-own`, 5);
      assert.deepEqual(usage.agents, [{ agent: "own", units: 5 }]);
      assert.equal(usage.days[0].kinds.mcp_tool_call, 5);
    });

    test("an edge that is down, silent or not an edge closes the door, or leaves it open where that is wanted", async () => {
      const silent = createServer(() => {}).listen(0, "127.0.0.1");
      const gone = createServer().listen(0, "127.0.0.1");
      const other = createServer(socket => {
        socket.end("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
      }).listen(0, "127.0.0.1");
      const edges = [await addressOf(silent), await addressOf(other), await addressOf(gone)];
      open.push(silent, other);
      await new Promise(resolve => gone.close(resolve));
      for (const edge of edges) {
        const reasons = [];
        const options = { edge, timeoutMs: 300, onUnreachable: reason => reasons.push(reason) };
        const closed = await call(await server(options), "pk_live_any");
        assert.equal(closed.status, 503);
        assert.equal(closed.headers.get("retry-after"), "1");
        assert.equal(closed.headers.get("content-type"), "application/problem+json");
        assert.equal((await closed.json()).code, "home_unavailable");
        const opened = await call(await server({ ...options, whenUnreachable: "allow" }), "pk_live_any");
        assert.deepEqual([opened.status, await opened.text()], [200, "served"]);
        assert.equal(reasons.length, 2);
      }
    });
  });
}
