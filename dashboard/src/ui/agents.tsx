// Agents by what they used: the first few and what all others come to, or all of them, of which only those in sight
// are in the page.
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from "@tanstack/virtual-core";
import { useLayoutEffect, useReducer, useRef } from "preact/hooks";
import type { Cell } from "../csv";
import { agentName, units } from "../format";
import type { Series, Usage } from "../report";
import { query, setQuery } from "../router";
import { useSeen } from "../seen";
import { together } from "../together";
import { Spark } from "./chart";
import { Card, Empty } from "./parts";
import { SaveCsv } from "./save";

const FIRST = 10;
const ROW = 37;
const POINTS_MAX = 46;

type Agent = Usage["agents"][number];

/** Asks what some agents used, day by day; `key` names the report that they are of. */
export interface Days {
  key: string;
  /** Whose days are asked for already, because something else on the page is drawn from them; and those that are there. */
  asked: string[];
  known: Series;
  ask: (agents: string[], signal: AbortSignal) => Promise<{ data: Series }>;
}

export function Agents({ data, found, sought, days, file }: { data: Usage; found: Agent[]; sought: string; days: Days; file: string }) {
  const all = query.value.get("agents") === "all";
  const shown = all || sought ? found : found.slice(0, FIRST);
  const sum = shown.reduce((total, agent) => total + agent.units, 0);
  // Beside those that were sought there are no others to tell of.
  const total = sought ? sum : data.total;
  const more = data.agents.length > FIRST;
  return (
    <Card title="Agents" aside={more && !sought ? <button type="button" class="small" onClick={() => setQuery({ agents: all ? null : "all" })}>{all ? `First ${FIRST}` : `All ${units(data.agents.length)}`}</button> : undefined}>
      {shown.length === 0 ? <Empty title={sought ? "No agent has that in its name." : "No agent used any units in these days."} /> : (
        <Rows agents={shown} total={total} rest={total - sum} days={days} tall={shown.length > 60} file={`${file}-agents`} />
      )}
    </Card>
  );
}

function Rows({ agents, total, rest, days, tall, file }: { agents: Agent[]; total: number; rest: number; days: Days; tall: boolean; file: string }) {
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
  const missing = seen.flatMap((index) => agents[index]?.agent ?? []).filter((agent) => !days.asked.includes(agent));
  const sparks = useSeen(days.key, missing, days.ask);
  const asFile = (): Cell[][] => [
    ["Agent", "Units", "Share (%)"],
    ...agents.map(({ agent, units }): Cell[] => [agent, units, percentOf(units, total)]),
    ...(rest > 0 ? [["Other", rest, percentOf(rest, total)]] : []),
  ];
  return (
    <>
      <div ref={place} class="scroll" role="region" aria-label="Agents" tabIndex={0} style={tall ? { maxHeight: "520px", overflowY: "auto" } : undefined}>
        <table aria-rowcount={agents.length + 2}>
          <caption class="unseen">Units by agent</caption>
          <thead><tr><th scope="col">Agent</th><th scope="col" class="wide-only">By day</th><th scope="col" class="num">Share</th><th scope="col" class="num">Units</th></tr></thead>
          <tbody>
            {top > 0 && <tr aria-hidden="true"><td colSpan={4} style={{ height: `${top}px`, padding: 0 }} /></tr>}
            {seen.map((index) => {
              const agent = agents[index];
              if (!agent) return null;
              return (
                <tr key={agent.agent} aria-rowindex={index + 2}>
                  <td>{agentName(agent.agent)}</td>
                  <td class="wide-only"><Spark values={together(days.known.get(agent.agent) ?? sparks.get(agent.agent) ?? [], POINTS_MAX)} /></td>
                  <td class="num">{share(agent.units, total)}</td>
                  <td class="num">{units(agent.units)}</td>
                </tr>
              );
            })}
            {bottom > 0 && <tr aria-hidden="true"><td colSpan={4} style={{ height: `${bottom}px`, padding: 0 }} /></tr>}
            {rest > 0 && <tr><td class="soft">Other</td><td class="wide-only" /><td class="num">{share(rest, total)}</td><td class="num">{units(rest)}</td></tr>}
          </tbody>
          <tfoot><tr><th scope="row">All</th><td class="wide-only" /><td class="num" /><td class="num" data-name="agents-total">{units(total)}</td></tr></tfoot>
        </table>
      </div>
      <SaveCsv what="Agents" file={file} rows={asFile} />
    </>
  );
}

const percentOf = (part: number, of: number): string => (of === 0 ? "0" : ((part * 100) / of).toFixed(1));
const share = (part: number, of: number): string => `${percentOf(part, of)} %`;
