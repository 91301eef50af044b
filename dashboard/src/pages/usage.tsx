// Usage Reports: what was counted, by day, kind and agent. All that is chosen is in the address.
import { useMemo } from "preact/hooks";
import { serverNow } from "../api";
import { addDays, before, daysBetween, isDay, monthOf, monthsAgo, type Span, toDay } from "../days";
import { date, dayName, kindName, money, units } from "../format";
import { csvAddresses, type Mode, series, type Usage, usage } from "../report";
import { useResource } from "../resource";
import { query, setQuery } from "../router";
import { project } from "../session";
import { Agents } from "../ui/agents";
import { Chart } from "../ui/chart";
import { Heat } from "../ui/heat";
import { AsOf, Card, Figure, Page, Shown, Skeleton, Trouble } from "../ui/parts";
import { Table } from "../ui/table";

const MONTHS_MAX = 25;
/** How many agents the heat map has: more rows nobody reads at once. */
const HEAT_AGENTS = 12;
const COLOURS = ["--accent", "--tint-2", "--tint-3"];

interface View {
  span: Span;
  mode: Mode;
  compare: boolean;
}

function viewOf(search: URLSearchParams): View {
  const today = toDay(serverNow());
  const given = (name: string): string => search.get(name) ?? "";
  const span = { from: monthOf(today).from, to: today };
  if (isDay(given("from"))) span.from = given("from");
  if (isDay(given("to"))) span.to = given("to");
  if (span.to < span.from) span.to = span.from;
  const earliest = monthsAgo(span.to, MONTHS_MAX);
  if (span.from < earliest) span.from = earliest;
  return { span, mode: given("mode") === "test" ? "test" : "live", compare: given("compare") === "1" };
}

export function UsageReports() {
  const view = viewOf(query.value);
  const { span, mode } = view;
  const key = `${project.value} ${span.from} ${span.to} ${mode}`;
  const report = useResource(key, (signal) => usage(project.value, span, mode, signal));
  const earlier = useResource(view.compare ? `${key} before` : "", (signal) => usage(project.value, before(span), mode, signal));
  // Those of the heat map are asked for once it is known who they are.
  const most = report.answer?.data.agents.slice(0, HEAT_AGENTS).map((agent) => agent.agent) ?? [];
  const ask = (agents: string[], signal: AbortSignal) => series(project.value, span, mode, agents, signal);
  const heat = useResource(most.length > 0 ? `${key} ${most.join(" ")}` : "", (signal) => ask(most, signal));
  return (
    <Page title="Usage Reports" about={<>{date(`${span.from}T00:00:00Z`)} to {date(`${span.to}T00:00:00Z`)}, days of UTC{mode === "test" ? ", test keys" : ""}</>} asOf={<AsOf at={report.answer?.asOf} />} actions={<Exports view={view} />}>
      <Choice view={view} />
      <Shown of={report} tall={620}>
        {(data) => (
          <div class="stack">
            <Sums data={data} earlier={view.compare ? (earlier.answer?.data ?? null) : null} />
            <Days data={data} compare={view.compare} earlier={view.compare ? (earlier.answer?.data ?? null) : null} />
            <Agents data={data} days={{ key, ask }} />
            <Card title="Day by agent" aside={<span>the agents with most units; darker is more</span>}>
              {heat.problem ? <Trouble problem={heat.problem} /> : heat.answer || most.length === 0 ? <Heat series={heat.answer?.data ?? new Map()} agents={most} from={span.from} /> : <Skeleton lines={6} />}
            </Card>
            <Observed data={data} />
          </div>
        )}
      </Shown>
    </Page>
  );
}

const RANGES: [string, (today: string) => Span][] = [
  ["Today", (today) => ({ from: today, to: today })],
  ["7 days", (today) => ({ from: addDays(today, -6), to: today })],
  ["This month", (today) => ({ from: monthOf(today).from, to: today })],
  ["Last month", (today) => monthOf(addDays(monthOf(today).from, -1))],
  ["12 months", (today) => ({ from: monthsAgo(today, 11), to: today })],
  ["25 months", (today) => ({ from: monthsAgo(today, 24), to: today })],
];

function Choice({ view: { span, mode, compare } }: { view: View }) {
  const today = toDay(serverNow());
  return (
    <div class="row choice">
      <div class="segments" role="group" aria-label="Range">
        {RANGES.map(([name, of]) => {
          const range = of(today);
          const chosen = range.from === span.from && range.to === span.to;
          return <button key={name} type="button" aria-pressed={chosen} onClick={() => setQuery({ from: range.from, to: range.to })}>{name}</button>;
        })}
      </div>
      <div class="row">
        <label class="row small-text">From <input type="date" value={span.from} max={today} onChange={(event) => setQuery({ from: event.currentTarget.value, to: span.to })} /></label>
        <label class="row small-text">to <input type="date" value={span.to} onChange={(event) => setQuery({ from: span.from, to: event.currentTarget.value })} /></label>
      </div>
      <label class="row small-text">Keys
        <select value={mode} onChange={(event) => setQuery({ mode: event.currentTarget.value === "test" ? "test" : null })}>
          <option value="live">live</option>
          <option value="test">test (never billed)</option>
        </select>
      </label>
      <label class="check small-text"><input type="checkbox" checked={compare} onChange={(event) => setQuery({ compare: event.currentTarget.checked ? "1" : null })} />Compare with the {daysBetween(span.from, span.to)} days before</label>
    </div>
  );
}

function Exports({ view: { span, mode } }: { view: View }) {
  const kinds: [string, string][] = [["day", "by day"], ["agent", "by agent"], ["day,agent,kind", "every line"]];
  return (
    <details class="exports">
      <summary class="button">CSV</summary>
      <ul>
        {kinds.flatMap(([group, name]) => csvAddresses(project.value, span, mode, group).map((address, index, all) => (
          <li key={address}><a href={address} download={`usage-${project.value}-${span.from}-${span.to}-${group.replaceAll(",", "-")}${all.length > 1 ? `-${index + 1}` : ""}.csv`}>{name}{all.length > 1 ? `, part ${index + 1}` : ""}</a></li>
        )))}
      </ul>
    </details>
  );
}

function change(now: number, then: number): string {
  if (then === 0) return now === 0 ? "as before" : "none before";
  const moved = Math.round(((now - then) * 100) / then);
  return `${moved >= 0 ? "+" : "−"}${Math.abs(moved)} % from ${units(then)}`;
}

function Sums({ data, earlier }: { data: Usage; earlier: Usage | null }) {
  const days = data.days.length;
  return (
    <div class="figures">
      <Figure name="total" label="Units" note={earlier ? change(data.total, earlier.total) : "billed requests"}>{units(data.total)}</Figure>
      <Figure label="A day, on average" note={`over ${units(days)} days`}>{units(Math.round(data.total / Math.max(1, days)))}</Figure>
      <Figure label="Agents" note={earlier ? change(data.agents.length, earlier.agents.length) : "that used any"}>{units(data.agents.length)}{data.next && "+"}</Figure>
      <Figure label="Denied" note={earlier ? change(data.denied.total, earlier.denied.total) : "never billed"}>{units(data.denied.total)}</Figure>
    </div>
  );
}

/** The legend names the period before as soon as it is asked for, so that nothing moves when it comes. */
function Days({ data, compare, earlier }: { data: Usage; compare: boolean; earlier: Usage | null }) {
  const kinds = Object.keys(data.days[0]?.kinds ?? {});
  const { times, series } = useMemo(() => ({
    times: data.days.map((day) => Date.parse(`${day.date}T00:00:00Z`) / 1000),
    series: [
      ...kinds.map((kind, index) => ({ name: kindName(kind), colour: COLOURS[index] ?? "--tint-3", values: data.days.map((day) => day.kinds[kind] ?? 0) })),
      ...(earlier ? [{ name: "before", colour: "--soft", line: true, values: earlier.days.map((day) => day.units) }] : []),
    ],
  }), [data, earlier]);
  const choose = (index: number): void => {
    const day = data.days[index]?.date;
    if (day && data.days.length > 1) setQuery({ from: day, to: day });
  };
  return (
    <Card title="Units per day" aside={<>{kinds.map((kind, index) => <span key={kind}><span class={`swatch k${index}`} />{kindName(kind)}</span>)}{compare && <span><span class="swatch line" />period before</span>}<span>UTC</span></>}>
      <Chart times={times} series={series} label={`Units per day by kind, ${units(data.total)} in all; the table below has the figures`} tick={(at) => dayName(new Date(at * 1000).toISOString().slice(0, 10))} choose={choose} />
      <details>
        <summary>As a table</summary>
        <Table
          caption="Units per day by kind"
          rows={data.days}
          name={(day) => day.date}
          columns={[
            { title: "Day (UTC)", cell: (day) => <span class="nowrap">{day.date}</span>, by: (day) => day.date },
            ...kinds.map((kind) => ({ title: kindName(kind), num: true, cell: (day: Usage["days"][number]) => units(day.kinds[kind] ?? 0), by: (day: Usage["days"][number]) => day.kinds[kind] ?? 0 })),
            { title: "Units", num: true, cell: (day) => units(day.units), by: (day) => day.units },
            { title: "Denied", num: true, cell: (day) => units(day.denied), by: (day) => day.denied },
          ]}
          foot={<tr><th scope="row">All</th>{kinds.map((kind) => <td key={kind} class="num">{units(data.days.reduce((sum, day) => sum + (day.kinds[kind] ?? 0), 0))}</td>)}<td class="num" data-name="table-total">{units(data.days.reduce((sum, day) => sum + day.units, 0))}</td><td class="num">{units(data.denied.total)}</td></tr>}
        />
      </details>
    </Card>
  );
}

const Observed = ({ data }: { data: Usage }) => (
  <Card title="Observed, not billed" aside={<span>LLM tokens of agents that report them</span>}>
    <dl class="facts">
      <dt>Tokens read</dt><dd>{units(data.observed.tokens_in)}</dd>
      <dt>Tokens written</dt><dd>{units(data.observed.tokens_out)}</dd>
      <dt>Cost estimate</dt><dd>{money(data.observed.cost_estimate)} <span class="soft">by the catalogue's prices of tokens; what your model costs is on its maker's invoice</span></dd>
    </dl>
  </Card>
);

