// Middleware for Express: asks the edge, then serves or refuses.

import type { Request, RequestHandler } from "express";
import { bearer, denial, Gate, type GateOptions, type Kind } from "./gate.js";

export interface MeterOptions extends GateOptions {
  /** What is counted. Default `verify`. */
  kind?: Kind | ((request: Request) => Kind);
  /** Units that a request costs. Default 1. */
  cost?: number | ((request: Request) => number);
  /** The project key of whoever calls. Default the bearer of `Authorization`. */
  key?: (request: Request) => string | undefined;
  /** The agent that calls. Default `Palveron-Agent`. */
  agent?: (request: Request) => string | undefined;
}

/** `app.use("/v1/verify", meter({ edge: "https://edge.example.com" }))` */
export function meter(options: MeterOptions): RequestHandler {
  const gate = new Gate(options);
  const { kind = "verify", cost } = options;
  const key = options.key ?? (request => bearer(request.get("Authorization")));
  const agent = options.agent ?? (request => request.get("Palveron-Agent"));
  return async (request, response, next) => {
    const decision = await gate.ask({
      key: key(request),
      agent: agent(request),
      kind: typeof kind === "function" ? kind(request) : kind,
      cost: typeof cost === "function" ? cost(request) : cost,
    });
    if (decision.allowed) {
      for (const [name, value] of decision.headers) response.setHeader(name, value);
      next();
      return;
    }
    const [headers, body] = denial(decision);
    for (const [name, value] of headers) response.setHeader(name, value);
    response.status(decision.status).end(body);
  };
}
