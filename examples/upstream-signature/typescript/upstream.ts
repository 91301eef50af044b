// A governance service that answers only what the edge has signed. Build with tsc; needs nothing but Node.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";

const { METER_SIGNING_KEYS = "", PORT = "8090" } = process.env;
const SKEW_SECONDS_MAX = 300;

/** The secrets of `purpose:id:hex,…` that sign for upstreams, by their id. */
function upstreamKeys(text: string): Map<string, Buffer> {
  const keys = text.split(",").map(entry => entry.trim().split(":"));
  const ours = keys.filter(([purpose]) => purpose === "upstream");
  return new Map(ours.map(([, id = "", hex = ""]) => [id, Buffer.from(hex, "hex")]));
}

export interface Caller {
  project: string;
  agent: string;
  keyId: string;
}

/** Who asks, if the edge says so. */
export function caller(request: IncomingMessage, keys: Map<string, Buffer>, nowSeconds: number): Caller | undefined {
  const header = (name: string): string => {
    const value = request.headers[name];
    return typeof value === "string" ? value : "";
  };
  const fields = header("palveron-signature").match(/^t=(\d{1,12}),k=([a-z0-9]{1,16}),v1=([0-9a-f]{64})$/);
  if (!fields) return undefined;
  const [, t = "", k = "", v1 = ""] = fields;
  const key = keys.get(k);
  if (!key || Math.abs(nowSeconds - Number(t)) > SKEW_SECONDS_MAX) return undefined;
  const who = { project: header("palveron-project"), agent: header("palveron-agent"), keyId: header("palveron-key-id") };
  const signed = [t, request.method, request.url, who.project, who.agent, who.keyId].join("\n");
  const expected = createHmac("sha256", key).update(signed).digest();
  return timingSafeEqual(expected, Buffer.from(v1, "hex")) ? who : undefined;
}

const keys = upstreamKeys(METER_SIGNING_KEYS);
if (keys.size === 0) throw new Error("METER_SIGNING_KEYS has no key of the purpose upstream");

createServer((request, response) => {
  request.resume();
  if (request.url === "/healthz") return void response.end("ok");
  const who = caller(request, keys, Date.now() / 1000);
  response.setHeader("Content-Type", "application/json");
  if (!who) return void response.writeHead(401).end('{"error":"not signed by the edge"}');
  response.end(JSON.stringify({ decision: "allow", ...who }));
}).listen(Number(PORT), "127.0.0.1");
