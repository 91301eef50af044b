// Usage Reports: what was counted, by day, in groups, and by agent. All that is chosen is in the address.
import { useMemo } from "preact/hooks";
import { serverNow } from "../api";
import { addDays, before, daysBetween, isDay, monthOf, monthsAgo, type Span, toDay } from "../days";
import { agentName, date, dayName, kindName, money, units, words } from "../format";
import { type By, byAgent, byKind, bySource, type Group, sumOf } from "../grouped";
import { csvAddresses, lines, type Mode, paid, type Series, series, type Usage, usage } from "../report";
import { useResource } from "../resource";
import { query, setQuery } from "../router";
import { project } from "../session";
import { Agents } from "../ui/agents";
import { Chart } from "../ui/chart";
import { Heat } from "../ui/heat";
import { AsOf, Card, Empty, Figure, Notice, Page, Shown, Skeleton, Trouble } from "../ui/parts";
import { Table } from "../ui/table";

const MONTHS_MAX = 25;
/** How many agents the heat map has: more rows nobody reads at once. */
const HEAT_AGENTS = 12;
/** Of how many agents that have a name in common the days are added up here. */
const FOUND_MAX = 200;
/** How many lines of a day are shown: more are read in a file. */
const LINES_MAX = 1_000;

const BYS: [By, string][] = [["kind", "Kind"], ["agent", "Agent"], ["source", "What paid"]];

interface View {
  span: Span;
  mode: Mode;
  compare: boolean;
  by: By;
  /** What is in the names of the agents that are looked at; all of them where it is empty. */
  sought: string;
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
  const mode = given("mode") === "test" ? "test" : "live";
  const sought = given("agent");
  // Of single agents neither kinds nor what paid are summed, and test keys are never billed.
  const asked = BYS.find(([by]) => by === given("by"))?.[0] ?? "kind";
  const by = sought ? "agent" : asked === "source" && mode === "test" ? "kind" : asked;
  return { span, mode, compare: given("compare") === "1", by, sought };
}

const NOBODY: Series = new Map();

const hasName = (sought: string) => {
  const text = sought.toLowerCase();
  return ({ agent }: { agent: string }): boolean => agentName(agent).toLowerCase().includes(text);
};

export function UsageReports() {
  const view = viewOf(query.value);
  const { span, mode, by, sought } = view;
  const key = `${project.value} ${span.from} ${span.to} ${mode}`;
  const report = useResource(key, (signal) => usage(project.value, span, mode, signal));
  const earlier = useResource(view.compare ? `${key} before` : "", (signal) => usage(project.value, before(span), mode, signal));
  const all = report.answer?.data.agents;
  // Read once: whoever types looks through ten thousand of them at every letter.
  const names = useMemo(() => (all ?? []).map(({ agent }) => agentName(agent).toLowerCase()), [all]);
  const found = useMemo(() => (sought ? (all ?? []).filter((_, index) => names[index]?.includes(sought.toLowerCase())) : (all ?? [])), [names, sought]);
  // Days of agents are asked for once it is known who they are: of those that were sought all, else the first few.
  const drawn = found.slice(0, sought && found.length <= FOUND_MAX ? FOUND_MAX : HEAT_AGENTS).map((agent) => agent.agent);
  const ask = (agents: string[], signal: AbortSignal) => series(project.value, span, mode, agents, signal);
  const days = useResource(drawn.length > 0 ? `${key} ${drawn.join(" ")}` : "", (signal) => ask(drawn, signal));
  const payers = useResource(by === "source" ? `${key} paid` : "", (signal) => paid(project.value, span, signal));
  const past = view.compare ? (earlier.answer?.data ?? null) : null;
  const most = drawn.slice(0, HEAT_AGENTS);
  const file = fileOf(view, report.answer);
  return (
    <Page title="Usage Reports" about={<>{date(`${span.from}T00:00:00Z`)}{span.to === span.from ? ", a day of UTC" : <> to {date(`${span.to}T00:00:00Z`)}, days of UTC</>}{mode === "test" ? ", test keys" : ""}{sought ? <>, agents with “{sought}”</> : ""}</>} asOf={<AsOf at={report.answer?.asOf} />} actions={<Exports view={view} />}>
      <Choice view={view} />
      <Shown of={report} tall={620}>
        {(data) => {
          const groups = groupsOf(view, data, days.answer?.data, drawn, found.length, payers.answer?.data);
          return (
            <div class="stack">
              <Sums data={data} found={sought ? found : null} earlier={past} sought={sought} />
              <Card title={`Units per day by ${by === "source" ? "what paid" : by}`} aside={<span>{by === "source" ? "a month is paid in the order of its days, " : ""}UTC</span>}>
                {payers.problem && by === "source" ? <Trouble problem={payers.problem} again={payers.reload} />
                  : sought && found.length > FOUND_MAX ? <Empty title={`${units(found.length)} agents have that in their name.`}>Days are added up for at most {FOUND_MAX}: write more of it.</Empty>
                  : sought && found.length === 0 ? <Empty title="No agent has that in its name." />
                  : groups ? <Days data={data} groups={groups} view={view} earlier={past} file={file} /> : <Skeleton lines={6} tall={318} />}
              </Card>
              {span.from === span.to && <Lines view={view} />}
              <Agents data={data} found={found} sought={sought} days={{ key, ask, asked: drawn, known: days.answer?.data ?? NOBODY }} file={file} />
              <Card title="Day by agent" aside={<span>the agents with most units; darker is more</span>}>
                {days.problem ? <Trouble problem={days.problem} again={days.reload} /> : days.answer || most.length === 0 ? <Heat series={days.answer?.data ?? NOBODY} agents={most} from={span.from} file={file} /> : <Skeleton lines={6} />}
              </Card>
              <Observed data={data} />
            </div>
          );
        }}
      </Shown>
    </Page>
  );
}

/** What a file of this view is called: whose it is, of which days of UTC, how it is grouped and what it is true for. */
function fileOf({ span, mode, by, sought }: View, answer: { asOf: string; watermark: number | null } | null): string {
  const at = (answer?.asOf ?? "").slice(0, 19).replace(/\W/g, "");
  const only = sought ? `-of-${encodeURIComponent(sought).replace(/%/g, "_")}` : "";
  return `usage-${project.value}-${mode}-${span.from}-to-${span.to}-utc-by-${by}${only}-as-of-${at}Z${answer?.watermark == null ? "" : `-at-${answer.watermark}`}`;
}

/** The groups of the chosen grouping; nothing while what they are made of is not there. */
function groupsOf({ by, sought }: View, data: Usage, of: ReadonlyMap<string, number[]> | undefined, drawn: string[], found: number, payers: Parameters<typeof bySource>[0] | undefined): Group[] | null {
  if (by === "kind") return byKind(data);
  if (by === "source") return payers ? bySource(payers) : null;
  if (found === 0) return [];
  return of ? byAgent(of, drawn, sought ? sumOf(of, data.days.length) : data.days.map((day) => day.units)) : null;
}

const RANGES: [string, (today: string) => Span][] = [
  ["Today", (today) => ({ from: today, to: today })],
  ["7 days", (today) => ({ from: addDays(today, -6), to: today })],
  ["This month", (today) => ({ from: monthOf(today).from, to: today })],
  ["Last month", (today) => monthOf(addDays(monthOf(today).from, -1))],
  ["12 months", (today) => ({ from: monthsAgo(today, 11), to: today })],
  ["25 months", (today) => ({ from: monthsAgo(today, 24), to: today })],
];

function Choice({ view: { span, mode, compare, by, sought } }: { view: View }) {
  const today = toDay(serverNow());
  const count = daysBetween(span.from, span.to);
  const why = (one: By): string => (sought && one !== "agent" ? "some agents are told by agent alone" : one === "source" && mode === "test" ? "test keys are never billed" : "");
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
      <div class="row small-text">By
        <div class="segments" role="group" aria-label="Group by">
          {BYS.map(([one, name]) => <button key={one} type="button" aria-pressed={by === one} disabled={why(one) !== ""} title={why(one) || undefined} onClick={() => setQuery({ by: one === "kind" ? null : one })}>{name}</button>)}
        </div>
      </div>
      <input type="search" aria-label="Only agents with this in their name" placeholder="Find an agent" value={sought} onInput={(event) => setQuery({ agent: event.currentTarget.value }, { replace: true })} />
      <label class="row small-text">Keys
        <select value={mode} onChange={(event) => setQuery({ mode: event.currentTarget.value === "test" ? "test" : null })}>
          <option value="live">live</option>
          <option value="test">test (never billed)</option>
        </select>
      </label>
      <label class="check small-text"><input type="checkbox" checked={compare} onChange={(event) => setQuery({ compare: event.currentTarget.checked ? "1" : null })} />Compare with the {count === 1 ? "day" : `${count} days`} before</label>
    </div>
  );
}

/** All there is of these days, whatever is seen of it; what is seen is taken along below each part. */
function Exports({ view: { span, mode } }: { view: View }) {
  const kinds: [string, string][] = [["day", "by day"], ["agent", "by agent"], ["day,agent,kind", "every line"], ...(mode === "live" ? [["day,source", "by day and what paid"] as [string, string]] : [])];
  return (
    <details class="exports">
      <summary class="button">CSV of all</summary>
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

type Agent = Usage["agents"][number];

const sum = (agents: Agent[]): number => agents.reduce((total, agent) => total + agent.units, 0);

function Sums({ data, found, earlier, sought }: { data: Usage; found: Agent[] | null; earlier: Usage | null; sought: string }) {
  const days = data.days.length;
  const total = found ? sum(found) : data.total;
  const past = earlier && (found ? earlier.agents.filter(hasName(sought)) : earlier.agents);
  const pastTotal = earlier && (found ? sum(past ?? []) : earlier.total);
  const count = (found ?? data.agents).length;
  return (
    <div class="figures">
      <Figure name="total" label="Units" note={pastTotal !== null ? change(total, pastTotal) : found ? `of ${units(data.total)}` : "billed requests"}>{units(total)}</Figure>
      <Figure label="A day, on average" note={days === 1 ? "over one day" : `over ${units(days)} days`}>{units(Math.round(total / Math.max(1, days)))}</Figure>
      <Figure label="Agents" note={past ? change(count, past.length) : found ? `of ${units(data.agents.length)}` : "that used any"}>{units(count)}{data.next && "+"}</Figure>
      <Figure label="Denied" note={found ? "of all agents" : earlier ? change(data.denied.total, earlier.denied.total) : "never billed"}>{units(data.denied.total)}</Figure>
    </div>
  );
}

interface Row {
  date: string;
  values: number[];
  units: number;
  denied: number;
  before: number;
}

/** The legend names the period before as soon as it is asked for, so that nothing moves when it comes. */
function Days({ data, groups, view, earlier, file }: { data: Usage; groups: Group[]; view: View; earlier: Usage | null; file: string }) {
  // Neither what was refused nor the period before is summed by agent and day.
  const whole = !view.sought;
  const line = whole && view.compare;
  const { times, series, rows } = useMemo(() => ({
    times: data.days.map((day) => Date.parse(`${day.date}T00:00:00Z`) / 1000),
    series: [...groups, ...(line && earlier ? [{ name: "before", colour: "--soft", line: true, values: earlier.days.map((day) => day.units) }] : [])],
    rows: data.days.map((day, index): Row => {
      const values = groups.map((group) => group.values[index] ?? 0);
      return { date: day.date, values, units: values.reduce((total, value) => total + value, 0), denied: day.denied, before: earlier?.days[index]?.units ?? 0 };
    }),
  }), [data, earlier, line, groups.map((group) => group.name).join("\n"), view.by]);
  const choose = (index: number): void => {
    const day = data.days[index]?.date;
    if (day && data.days.length > 1) setQuery({ from: day, to: day });
  };
  const of = (column: (row: Row) => number): number => rows.reduce((total, row) => total + column(row), 0);
  const named = view.by === "source" ? "what paid" : view.by;
  return (
    <>
      <Chart times={times} series={series} label={`Units per day by ${named}, ${units(of((row) => row.units))} in all; the table below has the figures`} tick={(at) => dayName(new Date(at * 1000).toISOString().slice(0, 10))} choose={choose} />
      <div class="legend">
        {groups.map((group) => <span key={group.name}><span class="swatch" style={{ background: `var(${group.colour})` }} />{group.name}</span>)}
        {line && <span><span class="swatch line" />period before</span>}
      </div>
      <details>
        <summary>As a table</summary>
        <Table
          caption={`Units per day by ${named}`}
          rows={rows}
          name={(row) => row.date}
          file={file}
          columns={[
            { title: "Day (UTC)", cell: (row) => <span class="nowrap">{row.date}</span>, by: (row) => row.date },
            ...groups.map((group, index) => ({ title: group.name, num: true, cell: (row: Row) => units(row.values[index] ?? 0), by: (row: Row) => row.values[index] ?? 0 })),
            { title: "Units", num: true, cell: (row) => units(row.units), by: (row) => row.units },
            ...(whole ? [{ title: "Denied", num: true, cell: (row: Row) => units(row.denied), by: (row: Row) => row.denied }] : []),
            ...(line ? [{ title: "Units before", num: true, cell: (row: Row) => units(row.before), by: (row: Row) => row.before }] : []),
          ]}
          foot={(
            <tr>
              <th scope="row">All</th>
              {groups.map((group, index) => <td key={group.name} class="num">{units(of((row) => row.values[index] ?? 0))}</td>)}
              <td class="num" data-name="table-total">{units(of((row) => row.units))}</td>
              {whole && <td class="num">{units(data.denied.total)}</td>}
              {line && <td class="num">{units(of((row) => row.before))}</td>}
            </tr>
          )}
        />
      </details>
    </>
  );
}

/** A day as the books have it; nothing finer is kept. */
function Lines({ view: { span, mode, sought } }: { view: View }) {
  const day = span.from;
  const found = useResource(`${project.value} ${day} ${mode} lines`, (signal) => lines(project.value, day, mode, LINES_MAX, signal));
  return (
    <Card title="Line by line" aside={<><span>a day is the finest that is kept</span><AsOf at={found.answer?.asOf} /></>}>
      <Shown of={found} lines={6}>
        {(data) => (
          <>
            {data.next && <Notice>These are the first {units(LINES_MAX)} by name; “CSV of all” has every line.</Notice>}
            <Table
              caption={`Lines of ${day} (UTC)`}
              rows={data.groups.filter(hasName(sought))}
              name={(line) => `${line.agent} ${line.kind}`}
              find="line"
              empty={<Empty title="Nothing was counted on this day." />}
              columns={[
                { title: "Agent", cell: (line) => agentName(line.agent), by: (line) => line.agent },
                { title: "Kind", cell: (line) => kindName(line.kind), by: (line) => line.kind },
                { title: "Units", num: true, cell: (line) => units(line.units), by: (line) => line.units },
                { title: "Tokens read", num: true, cell: (line) => units(line.tokens_in), by: (line) => line.tokens_in, wide: true },
                { title: "Tokens written", num: true, cell: (line) => units(line.tokens_out), by: (line) => line.tokens_out, wide: true },
                { title: "Denied", cell: (line) => reasons(line.denied) || "–", csv: (line) => reasons(line.denied) },
              ]}
            />
          </>
        )}
      </Shown>
    </Card>
  );
}

const reasons = (denied: Record<string, number>): string =>
  Object.entries(denied).filter(([, count]) => count > 0).map(([reason, count]) => `${words(reason)} ${count}`).join(", ");

const Observed = ({ data }: { data: Usage }) => (
  <Card title="Observed, not billed" aside={<span>LLM tokens of agents that report them</span>}>
    <dl class="facts">
      <dt>Tokens read</dt><dd>{units(data.observed.tokens_in)}</dd>
      <dt>Tokens written</dt><dd>{units(data.observed.tokens_out)}</dd>
      <dt>Cost estimate</dt><dd>{money(data.observed.cost_estimate)} <span class="soft">by the catalogue's prices of tokens; what your model costs is on its maker's invoice</span></dd>
    </dl>
  </Card>
);
