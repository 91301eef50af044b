// What the tests share: a project with its key, made with the client, and servers on free ports.

import { once } from "node:events";
import { aggregator, edge, taken } from "@palveron/meter";

const { METER_URL, METER_EDGE, METER_TOKEN } = process.env;
const DEADLINE_MS = 30_000;

export const edgeUrl = METER_EDGE;
export const operator = aggregator({ url: METER_URL, token: METER_TOKEN });

/** Asks until there is an answer. */
export async function eventually(what, probe) {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${DEADLINE_MS} ms`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

/** A new project and a key that the edge knows. */
export async function project(id, limits) {
  await taken(operator.POST("/api/v1/admin/projects", { body: { id, plan: "community", ...limits } }));
  const made = operator.POST("/api/v1/admin/projects/{project}/keys", { params: { path: { project: id } }, body: {} });
  const { key } = await taken(made);
  const client = edge({ url: METER_EDGE, token: key });
  await eventually("the edge knows the key", async () => (await client.GET("/v1/quota")).response.ok);
  return key;
}

/** Waits until that much is reported, and fails if it is more. */
export async function reported(project, wanted) {
  const day = new Date().toISOString().slice(0, 10);
  const query = { project, from: day, to: day };
  return eventually(`${wanted} units of ${project}`, async () => {
    const usage = await taken(operator.GET("/api/v1/usage", { params: { query } }));
    if (usage.total > wanted) throw new Error(`${project}: ${usage.total} units are reported, not ${wanted}`);
    return usage.total === wanted && usage;
  });
}

/** The address of a server that listens now. */
export async function addressOf(server) {
  if (!server.listening) await once(server, "listening");
  return `http://127.0.0.1:${server.address().port}`;
}
