// Middleware for Hono: asks the edge, then serves or refuses.

import type { Context, MiddlewareHandler } from "hono";
import { bearer, denial, Gate, type GateOptions, type Kind } from "./gate.js";

export interface MeterOptions extends GateOptions {
  /** What is counted. Default `verify`. */
  kind?: Kind | ((context: Context) => Kind);
  /** Units that a request costs. Default 1. */
  cost?: number | ((context: Context) => number);
  /** The project key of whoever calls. Default the bearer of `Authorization`. */
  key?: (context: Context) => string | undefined;
  /** The agent that calls. Default `Palveron-Agent`. */
  agent?: (context: Context) => string | undefined;
}

/** `app.use("/v1/verify", meter({ edge: "https://edge.example.com" }))` */
export function meter(options: MeterOptions): MiddlewareHandler {
  const gate = new Gate(options);
  const { kind = "verify", cost } = options;
  const key = options.key ?? (context => bearer(context.req.header("Authorization")));
  const agent = options.agent ?? (context => context.req.header("Palveron-Agent"));
  return async (context, next) => {
    const decision = await gate.ask({
      key: key(context),
      agent: agent(context),
      kind: typeof kind === "function" ? kind(context) : kind,
      cost: typeof cost === "function" ? cost(context) : cost,
    });
    if (!decision.allowed) {
      const [headers, body] = denial(decision);
      return new Response(body, { status: decision.status, headers });
    }
    await next();
    for (const [name, value] of decision.headers) context.header(name, value);
    return undefined;
  };
}
