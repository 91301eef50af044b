// A usage report over any span: asked for in pieces that one call may have, and put together to the unit.
import { api, type Answer, type Schemas, settle } from "./api";
import { pieces, type Span } from "./days";

export type Usage = Schemas["Usage"];
export type Line = Schemas["UsageLine"];
export type Mode = "live" | "test";

/** What has more lines than these is for the CSV: a heat table of it would say nothing. */
const LINES_MAX = 60_000;
const PAGE = 10_000;

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
  const reasons = { ...a.data.denied.reasons };
  for (const [reason, count] of Object.entries(b.data.denied.reasons)) reasons[reason] = (reasons[reason] ?? 0) + count;
  const minor = BigInt(a.data.observed.cost_estimate.minor) + BigInt(b.data.observed.cost_estimate.minor);
  return {
    // The earlier instant: later ones may have what the first does not.
    asOf: a.asOf < b.asOf ? a.asOf : b.asOf,
    watermark: a.watermark,
    data: {
      ...a.data,
      to: b.data.to,
      total: a.data.total + b.data.total,
      days: [...a.data.days, ...b.data.days],
      agents: [...agents].map(([agent, units]) => ({ agent, units })).sort((x, y) => y.units - x.units),
      denied: { total: a.data.denied.total + b.data.denied.total, reasons },
      observed: {
        tokens_in: a.data.observed.tokens_in + b.data.observed.tokens_in,
        tokens_out: a.data.observed.tokens_out + b.data.observed.tokens_out,
        cost_estimate: { ...a.data.observed.cost_estimate, minor: String(minor) },
      },
      next: a.data.next ?? b.data.next,
    },
  };
}

/** What was counted by day, agent and kind; null where that is too much to look at. */
export async function lines(project: string, span: Span, mode: Mode, signal: AbortSignal): Promise<Answer<Line[] | null>> {
  const found: Line[] = [];
  let last: Answer<unknown> = { data: null, asOf: "", watermark: null };
  for (const { from, to } of pieces(span)) {
    let cursor: string | null = null;
    do {
      const query = { project, from, to, mode, group_by: "day,agent,kind" as const, limit: PAGE, ...(cursor ? { cursor } : {}) };
      const answer = await settle(api.GET("/api/v1/usage", { params: { query }, signal }));
      const page = answer.data as Schemas["Lines"];
      found.push(...page.groups);
      cursor = page.next;
      last = answer;
      if (found.length > LINES_MAX) return { ...last, data: null };
    } while (cursor);
  }
  return { ...last, data: found };
}

/** The address of the same figures as CSV; one for each piece of the span. */
export function csvAddresses(project: string, span: Span, mode: Mode, groupBy: string): string[] {
  return pieces(span).map(({ from, to }) => `/api/v1/usage?${new URLSearchParams({ project, from, to, mode, group_by: groupBy, format: "csv" })}`);
}
