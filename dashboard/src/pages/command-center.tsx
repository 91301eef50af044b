// The Command Center: what happens now, how the month stands, which limit binds, and what happens when it is full.
import { useEffect, useMemo, useState } from "preact/hooks";
import { type Schemas, serverNow } from "../api";
import { ago, clock, date, kindName, moment, month as monthName, told, units, words } from "../format";
import type { Denied } from "../denied";
import { type Live, type Overview, type Tick, useOverview } from "../overview";
import { project, whyNot } from "../session";
import { Bars } from "../ui/bars";
import { Chart } from "../ui/chart";
import { AsOf, Card, Empty, Figure, Go, Notice, Page, Skeleton, Tag, Trouble } from "../ui/parts";
import { Ends, Waterfall } from "../ui/waterfall";

const RATE_MS = 10_000;
const BUCKET_MS = 5_000;
const BUCKETS = 60;

export function CommandCenter() {
  const live = useOverview(project.value);
  const now = useNow();
  if (!project.value) {
    return <Page title="Command Center"><Empty title="No project yet">You are a member of none. Ask an owner for an invitation.</Empty></Page>;
  }
  return (
    <Page title="Command Center" asOf={<><LiveMark live={live} /><AsOf at={live.overview?.as_of} /></>}>
      {live.problem && <Trouble problem={live.problem} />}
      {live.overview ? <Body overview={live.overview} live={live} now={now} /> : !live.problem && <Waiting />}
    </Page>
  );
}

const Waiting = () => (
  <div class="stack">
    <div class="card"><Skeleton lines={2} tall={66} /></div>
    <div class="card"><Skeleton lines={4} tall={150} /></div>
    <div class="card"><Skeleton lines={6} tall={240} /></div>
  </div>
);

export function LiveMark({ live }: { live: Pick<Live, "deadSince" | "connected"> }) {
  if (live.deadSince) return <span class="live dead" role="status">not live since {clock(live.deadSince)}</span>;
  return live.connected ? <span class="live" role="status">live</span> : <span class="live wait" role="status">connecting</span>;
}

function Body({ overview, live, now }: { overview: Overview; live: Live; now: number }) {
  const recent = live.ticks.filter((tick) => tick.at > now - RATE_MS);
  const rate = recent.reduce((sum, tick) => sum + tick.units, 0) / (RATE_MS / 1000);
  const denied = overview.denied.today.total;
  const lag = overview.flush.last_at ? Math.max(0, now - Date.parse(overview.flush.last_at)) : null;
  return (
    <div class={live.deadSince ? "stack stale" : "stack"}>
      <div class="figures">
        <Figure name="rate" label="Now" note="units a second, over 10 s">{live.connected ? rate.toFixed(1) : "–"}</Figure>
        <Figure name="today" label="Today" note={date(overview.today.date)}>{units(overview.today.units)}</Figure>
        <Figure name="month" label="This month" note={`resets ${date(overview.month.resets_at)}`}>{units(overview.month.used)}</Figure>
        <Figure name="denied" label="Denied today" note={<Go to="/why">why?</Go>}>{units(denied)}</Figure>
        <Figure name="rpm" label="Last minute" note={`${overview.rpm.percent} % of ${units(overview.rpm.limit)} a minute${overview.flush.last_at ? `, as of ${clock(overview.flush.last_at)}` : ""}`}>{units(overview.rpm.last_minute)}</Figure>
      </div>
      <Month overview={overview} />
      <div class="grid">
        <div class="two-thirds"><Minutes ticks={live.ticks} now={now} /></div>
        <div class="third"><DeniedByReason denied={overview.denied.month} /></div>
        {overview.would_have_denied.month.total > 0 && <div class="third"><WouldHaveDenied denied={overview.would_have_denied.month} /></div>}
        <div class="third"><ByKind overview={overview} /></div>
        <div class="third"><Health overview={overview} lag={lag} /></div>
        <div class="third"><Lately live={live} /></div>
      </div>
    </div>
  );
}

const BINDING: Record<Schemas["Binding"], string> = {
  monthly_quota: "Monthly quota",
  overage_cap: "Overage cap",
  agents: "Agent cap",
  rpm: "Requests per minute",
  contract: "Contract",
  suspended: "Suspended",
};

const SWITCHES: Record<Schemas["Switch"], { to: string; name: string }> = {
  auto_overage: { to: "/billing/plan#overage", name: "Switch auto-overage" },
  overage_cap: { to: "/billing/plan#overage", name: "Change the cap" },
  pay_overdue: { to: "/billing/plan", name: "Pay what is overdue" },
  change_plan: { to: "/billing/plan", name: "Change the plan" },
};

function Month({ overview }: { overview: Overview }) {
  const { month, limit } = overview;
  const lever = limit?.switch ? SWITCHES[limit.switch] : undefined;
  const percent = limit?.percent ?? 0;
  const tone = percent >= 100 ? "bad" : percent >= 80 ? "warn" : "plain";
  return (
    <Card title={`What pays for ${monthName(month.period)}`} aside={<Ends forecast={month.forecast} />}>
      <Waterfall parts={month.parts} used={month.used} />
      {month.uncovered > 0 && <p class="soft small-text">{units(month.uncovered)} units are covered by nothing, and not billed.</p>}
      <hr class="rule" />
      <div class="row between">
        <p class="sentence" data-name="limit">
          {limit ? <><Tag tone={tone}>{`${BINDING[limit.binding]} ${percent} %`}</Tag> {told(limit.at_full)}</> : "Nothing limits this project."}
        </p>
        {lever && <span title={whyNot("billing") || undefined}><Go to={lever.to} class="button">{lever.name}</Go></span>}
      </div>
    </Card>
  );
}

/** The last five minutes in buckets of five seconds. */
function Minutes({ ticks, now }: { ticks: Tick[]; now: number }) {
  const end = Math.floor(now / BUCKET_MS) * BUCKET_MS;
  const { times, series } = useMemo(() => {
    const starts = Array.from({ length: BUCKETS }, (_, index) => end - (BUCKETS - 1 - index) * BUCKET_MS);
    const sum = (start: number, of: "units" | "denied"): number =>
      ticks.reduce((total, tick) => (tick.at >= start && tick.at < start + BUCKET_MS ? total + tick[of] : total), 0);
    return {
      times: starts.map((start) => start / 1000),
      series: [
        { name: "counted", colour: "--accent", values: starts.map((start) => sum(start, "units")) },
        { name: "denied", colour: "--bad", values: starts.map((start) => sum(start, "denied")) },
      ],
    };
  }, [end, ticks]);
  const total = ticks.reduce((sum, tick) => sum + tick.units, 0);
  return (
    <Card title="Last five minutes" aside={<><span><span class="swatch" />counted</span><span><span class="swatch bad" />denied</span><span>UTC</span></>}>
      <Chart times={times} series={series} height={190} label={`${units(total)} units counted in the last five minutes`} tick={(at) => clock(new Date(at * 1000)).slice(0, 5)} />
      <details>
        <summary>As a table</summary>
        <div class="scroll" role="region" aria-label="Last five minutes" tabIndex={0}>
          <table>
            <thead><tr><th scope="col">From (UTC)</th><th scope="col" class="num">Counted</th><th scope="col" class="num">Denied</th></tr></thead>
            <tbody>
              {times.map((at, index) => ({ at, units: series[0]?.values[index] ?? 0, denied: series[1]?.values[index] ?? 0 }))
                .filter((row) => row.units + row.denied > 0)
                .map((row) => <tr key={row.at}><td>{clock(new Date(row.at * 1000))}</td><td class="num">{units(row.units)}</td><td class="num">{units(row.denied)}</td></tr>)}
            </tbody>
          </table>
        </div>
      </details>
    </Card>
  );
}

function DeniedByReason({ denied }: { denied: Denied }) {
  return (
    <Card title="Denied this month, by reason" aside={<span>{units(denied.total)}, never billed</span>}>
      {denied.total === 0 ? <Empty title="Nothing was denied" /> : <ByReason denied={denied} />}
    </Card>
  );
}

function WouldHaveDenied({ denied }: { denied: Denied }) {
  return (
    <Card title="Shadow mode would have denied" aside={<span>{units(denied.total)} this month, served and never billed</span>}>
      <ByReason denied={denied} />
    </Card>
  );
}

function ByReason({ denied }: { denied: Denied }) {
  const reasons = Object.entries(denied.reasons).filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1]);
  return <Bars bars={reasons.map(([reason, count]) => ({ name: words(reason), count, to: `/why?reason=${reason}` }))} />;
}

function ByKind({ overview }: { overview: Overview }) {
  const kinds = Object.entries(overview.today.kinds);
  return (
    <Card title="Today by kind">
      <Bars bars={kinds.map(([kind, count]) => ({ name: kindName(kind), count, to: `/usage?from=${overview.today.date}&to=${overview.today.date}` }))} />
    </Card>
  );
}

function Health({ overview, lag }: { overview: Overview; lag: number | null }) {
  const { webhooks, flush } = overview;
  const all = webhooks.well + webhooks.failing + webhooks.disabled;
  return (
    <Card title="Health">
      <dl class="facts">
        <dt>Last flush</dt>
        <dd>{flush.last_at && lag !== null ? <span title={moment(flush.last_at)}>{ago(lag)} ago</span> : "none yet"}</dd>
        <dt>Webhooks</dt>
        <dd class="row">
          {all === 0 ? <Go to="/webhooks">none yet</Go> : (
            <>
              {webhooks.well > 0 && <Tag tone="good">{webhooks.well} well</Tag>}
              {webhooks.failing > 0 && <Tag tone="bad">{webhooks.failing} failing</Tag>}
              {webhooks.disabled > 0 && <Tag tone="warn">{webhooks.disabled} disabled</Tag>}
            </>
          )}
        </dd>
        <dt>To deliver</dt>
        <dd>{units(webhooks.waiting)}</dd>
        <dt>Denied by rate</dt>
        <dd>{units(overview.denied.today.reasons.rate_limited ?? 0)} today</dd>
        <dt>Plan</dt>
        <dd>{words(overview.plan)}</dd>
      </dl>
    </Card>
  );
}

function Lately({ live }: { live: Live }) {
  return (
    <Card title="Events since you look">
      {live.told.length === 0 ? <p class="soft">Thresholds, payments and changes appear here as they happen.</p> : (
        <ul class="stack">
          {live.told.map((told) => <li key={told.number} class="row between"><span>{words(told.type)}</span><span class="soft small-text">{clock(told.timestamp)}</span></li>)}
        </ul>
      )}
      {live.deadSince && <Notice tone="warn">The stream is cut; these may not be all.</Notice>}
    </Card>
  );
}

/** The server's clock, each second; it only moves what is shown of the last minutes. */
function useNow(): number {
  const [now, set] = useState(serverNow());
  useEffect(() => {
    const tick = setInterval(() => set(serverNow()), 1000);
    return () => clearInterval(tick);
  }, []);
  return now;
}

