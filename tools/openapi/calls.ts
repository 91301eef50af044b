// Calls both servers with clients whose types openapi-typescript made from their documents. The compiler has seen
// every field that is named here.

import createClient from "openapi-fetch";
import type { paths as AggregatorPaths } from "./aggregator.js";
import type { paths as EdgePaths } from "./edge.js";

declare const process: { env: Record<string, string> };
const { METER_URL, METER_EDGE, METER_TOKEN } = process.env;
const DEADLINE_MS = 30_000;

function expect<T>(what: string, found: T, wanted: T): void {
  if (found !== wanted) throw new Error(`${what}: got ${found}, wanted ${wanted}`);
}

const bearer = (credential: string) => ({ Authorization: `Bearer ${credential}` });
const meter = createClient<AggregatorPaths>({ baseUrl: METER_URL, headers: bearer(METER_TOKEN) });
const project = "typescript";

const made = await meter.POST("/api/v1/admin/projects", { body: { id: project, plan: "community" } });
expect("the project's plan", made.data?.plan, "community");
const again = await meter.POST("/api/v1/admin/projects", { body: { id: project, plan: "community" } });
expect("the refusal", again.error?.code, "project_exists");

const key = await meter.POST("/api/v1/admin/projects/{project}/keys", { params: { path: { project } }, body: {} });
const listed = await meter.GET("/api/v1/admin/projects");
expect("the projects", listed.data?.projects.some(({ id }) => id === project), true);

const edge = createClient<EdgePaths>({ baseUrl: METER_EDGE, headers: bearer(key.data?.key ?? "") });
const deadline = Date.now() + DEADLINE_MS;
for (;;) {
  const { data } = await edge.POST("/v1/check", { body: { kind: "verify", agent: "bot", cost: 2 } });
  if (data?.allowed) break;
  if (Date.now() > deadline) throw new Error("the edge does not know the key");
}
const quota = await edge.GET("/v1/quota");
expect("the quota's plan", quota.data?.plan, "community");
expect("the minute's limit", typeof quota.data?.rpm.limit, "number");

const plan = await meter.GET("/api/v1/billing/plan", { params: { query: { project } } });
expect("the plan", plan.data?.plan, "community");
const day = new Date().toISOString().slice(0, 10);
const usage = await meter.GET("/api/v1/usage", { params: { query: { project, from: day, to: day } } });
expect("the usage is reported", usage.response.status, 200);
