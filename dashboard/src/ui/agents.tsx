// Agents by what they used: the first few and what all others come to, or all of them, of which only those in sight
// are in the page.
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { useLayoutEffect, useMemo, useReducer, useRef } from "preact/hooks";
import { addDays, daysBetween, type Span } from "../days";
import { agentName, units } from "../format";
import type { Line, Usage } from "../report";
import { query, setQuery } from "../router";
import { Spark } from "./chart";
import { Card, Empty } from "./parts";

const FIRST = 10;
const ROW = 37;
const POINTS_MAX = 46;

type Agent = Usage["agents"][number];

export function Agents({ data, lines, span }: { data: Usage; lines: Line[] | null; span: Span }) {
  const all = query.value.get("agents") === "all";
  const sought = query.value.get("agent") ?? "";
  const found = sought ? data.agents.filter((agent) => agentName(agent.agent).toLowerCase().includes(sought.toLowerCase())) : data.agents;
  const shown = all || sought ? found : found.slice(0, FIRST);
  const sum = shown.reduce((total, agent) => total + agent.units, 0);
  const sparks = useMemo(() => (lines ? byAgent(lines, span) : null), [lines, span.from, span.to]);
  const more = data.agents.length > FIRST;
  return (
    <Card title="Agents" aside={
      <>
        <input type="search" aria-label="Find agents by name" placeholder="Find an agent" value={sought} onInput={(event) => setQuery({ agent: event.currentTarget.value }, { replace: true })} />
        {more && !sought && <button type="button" class="small" onClick={() => setQuery({ agents: all ? null : "all" })}>{all ? `First ${FIRST}` : `All ${units(data.agents.length)}`}</button>}
      </>
    }>
      {shown.length === 0 ? <Empty title={sought ? "No agent has that in its name." : "No agent used any units in these days."} /> : (
        <Rows agents={shown} total={data.total} rest={data.total - sum} sparks={sparks} tall={shown.length > 60} />
      )}
    </Card>
  );
}

function Rows({ agents, total, rest, sparks, tall }: { agents: Agent[]; total: number; rest: number; sparks: Map<string, number[]> | null; tall: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  const [, again] = useReducer((turn: number) => turn + 1, 0);
  const options = {
    count: agents.length,
    getScrollElement: () => place.current,
    estimateSize: () => ROW,
    overscan: 12,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => again(0),
  };
  const window_ = useRef<Virtualizer<HTMLDivElement, HTMLTableRowElement> | null>(null);
  window_.current ??= new Virtualizer(options);
  window_.current.setOptions(options);
  useLayoutEffect(() => window_.current?._didMount(), []);
  useLayoutEffect(() => window_.current?._willUpdate());
  const seen = tall ? window_.current.getVirtualItems().map((item) => item.index) : agents.map((_, index) => index);
  const top = tall ? (seen[0] ?? 0) * ROW : 0;
  const bottom = tall ? (agents.length - 1 - (seen.at(-1) ?? 0)) * ROW : 0;
  return (
    <div ref={place} class="scroll" role="region" aria-label="Agents" tabIndex={0} style={tall ? { maxHeight: "520px", overflowY: "auto" } : undefined}>
      <table aria-rowcount={agents.length + 2}>
        <caption class="unseen">Units by agent</caption>
        <thead><tr><th scope="col">Agent</th>{sparks && <th scope="col" class="wide-only">By day</th>}<th scope="col" class="num">Share</th><th scope="col" class="num">Units</th></tr></thead>
        <tbody>
          {top > 0 && <tr aria-hidden="true"><td colSpan={4} style={{ height: `${top}px`, padding: 0 }} /></tr>}
          {seen.map((index) => {
            const agent = agents[index];
            if (!agent) return null;
            return (
              <tr key={agent.agent} aria-rowindex={index + 2}>
                <td>{agentName(agent.agent)}</td>
                {sparks && <td class="wide-only"><Spark values={sparks.get(agent.agent) ?? []} /></td>}
                <td class="num">{share(agent.units, total)}</td>
                <td class="num">{units(agent.units)}</td>
              </tr>
            );
          })}
          {bottom > 0 && <tr aria-hidden="true"><td colSpan={4} style={{ height: `${bottom}px`, padding: 0 }} /></tr>}
          {rest > 0 && <tr><td class="soft">Other</td>{sparks && <td class="wide-only" />}<td class="num">{share(rest, total)}</td><td class="num">{units(rest)}</td></tr>}
        </tbody>
        <tfoot><tr><th scope="row">All</th>{sparks && <td class="wide-only" />}<td class="num" /><td class="num" data-name="agents-total">{units(total)}</td></tr></tfoot>
      </table>
    </div>
  );
}

const share = (part: number, of: number): string => (of === 0 ? "0 %" : `${((part * 100) / of).toFixed(1)} %`);

/** Units of each agent, by day, or by as many days together as give a line of few points. */
function byAgent(lines: Line[], span: Span): Map<string, number[]> {
  const days = daysBetween(span.from, span.to);
  const together = Math.ceil(days / POINTS_MAX);
  const points = Math.ceil(days / together);
  const place = new Map(Array.from({ length: days }, (_, day) => [addDays(span.from, day), Math.floor(day / together)]));
  const found = new Map<string, number[]>();
  for (const line of lines) {
    const values = found.get(line.agent) ?? new Array<number>(points).fill(0);
    const at = place.get(line.day);
    if (at !== undefined) values[at] = (values[at] ?? 0) + line.units;
    found.set(line.agent, values);
  }
  return found;
}
