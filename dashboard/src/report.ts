// A usage report over any span: asked for in pieces that one call may have, and put together to the unit.
import { api, type Answer, type Schemas, settle } from "./api";
import { pieces, type Span } from "./days";
import { more } from "./denied";

export type Usage = Schemas["Usage"];
/** What an agent used on each day of a span. */
export type Series = ReadonlyMap<string, number[]>;
export type Mode = "live" | "test";
/** What paid for each day. */
export type Paid = Schemas["PaidDays"];
/** What was counted of an agent and kind on a day. */
export type Lines = Schemas["Lines"];

/** The most agents that one call asks for. */
export const ASKED_MAX = 50;

export async function usage(project: string, span: Span, mode: Mode, signal: AbortSignal): Promise<Answer<Usage>> {
  const asked = pieces(span).map(({ from, to }) =>
    settle(api.GET("/api/v1/usage", { params: { query: { project, from, to, mode } }, signal })),
  );
  const answers = (await Promise.all(asked)) as Answer<Usage>[];
  const [first, ...rest] = answers;
  if (!first) throw new Error("a span without days");
  return rest.reduce(joined, first);
}

function joined(a: Answer<Usage>, b: Answer<Usage>): Answer<Usage> {
  const agents = new Map(a.data.agents.map(({ agent, units }) => [agent, units]));
  for (const { agent, units } of b.data.agents) agents.set(agent, (agents.get(agent) ?? 0) + units);
  const minor = BigInt(a.data.observed.cost_estimate.minor) + BigInt(b.data.observed.cost_estimate.minor);
  return {
    // The earlier instant: later ones may have what the first does not.
    asOf: a.asOf < b.asOf ? a.asOf : b.asOf,
    // One number where it is true for all of it.
    watermark: a.watermark === b.watermark ? a.watermark : null,
    data: {
      ...a.data,
      to: b.data.to,
      total: a.data.total + b.data.total,
      days: [...a.data.days, ...b.data.days],
      agents: [...agents].map(([agent, units]) => ({ agent, units })).sort((x, y) => y.units - x.units),
      denied: more(a.data.denied, b.data.denied.reasons),
      would_have_denied: more(a.data.would_have_denied, b.data.would_have_denied.reasons),
      observed: {
        tokens_in: a.data.observed.tokens_in + b.data.observed.tokens_in,
        tokens_out: a.data.observed.tokens_out + b.data.observed.tokens_out,
        cost_estimate: { ...a.data.observed.cost_estimate, minor: String(minor) },
      },
      next: a.data.next ?? b.data.next,
    },
  };
}

/** What these agents used, day by day: those that are looked at, however many there are. */
export async function series(project: string, span: Span, mode: Mode, agents: string[], signal: AbortSignal): Promise<Answer<Series>> {
  const some = Array.from({ length: Math.ceil(agents.length / ASKED_MAX) }, (_, part) => agents.slice(part * ASKED_MAX, (part + 1) * ASKED_MAX));
  const asked = some.flatMap((named) => pieces(span).map(({ from, to }) =>
    settle(api.GET("/api/v1/usage", { params: { query: { project, from, to, mode, group_by: "day,agent" as const, agents: named.join(" ") } }, signal })),
  ));
  const answers = (await Promise.all(asked)) as Answer<Schemas["AgentDays"]>[];
  const [first] = answers;
  if (!first) throw new Error("a span without days, or nobody");
  const found = new Map<string, number[]>(agents.map((agent) => [agent, []]));
  for (const { data } of answers) for (const { agent, days } of data.agents) found.get(agent)?.push(...days);
  return { ...first, data: found };
}

/** What paid for each day, as its month is billed; live keys alone are. */
export async function paid(project: string, span: Span, signal: AbortSignal): Promise<Answer<Paid>> {
  const asked = pieces(span).map(({ from, to }) =>
    settle(api.GET("/api/v1/usage", { params: { query: { project, from, to, group_by: "day,source" as const } }, signal })),
  );
  const [first, ...rest] = (await Promise.all(asked)) as Answer<Paid>[];
  if (!first) throw new Error("a span without days");
  return rest.reduce((all, { data }) => ({ ...all, data: { ...all.data, to: data.to, total: all.data.total + data.total, days: [...all.data.days, ...data.days] } }), first);
}

/** The first lines of a day, by agent and kind. */
export const lines = (project: string, day: string, mode: Mode, limit: number, signal: AbortSignal): Promise<Answer<Lines>> =>
  settle(api.GET("/api/v1/usage", { params: { query: { project, from: day, to: day, mode, group_by: "day,agent,kind" as const, limit } }, signal })) as Promise<Answer<Lines>>;

/** The address of the same figures as CSV; one for each piece of the span. */
export function csvAddresses(project: string, span: Span, mode: Mode, groupBy: string): string[] {
  return pieces(span).map(({ from, to }) => `/api/v1/usage?${new URLSearchParams({ project, from, to, mode, group_by: groupBy, format: "csv" })}`);
}
