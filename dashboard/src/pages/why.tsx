// Why denied, and why billed: what would happen to the next request, what was refused and what to do about each
// reason, and which units of a month were paid by what.
import { api, type Schemas, settle } from "../api";
import { month, money, units, words } from "../format";
import { useResource } from "../resource";
import { query, setQuery } from "../router";
import { project } from "../session";
import { Bars } from "../ui/bars";
import { AsOf, Card, Empty, Field, Go, Notice, Page, Shown, Tag } from "../ui/parts";
import { Table } from "../ui/table";

type Explanation = Schemas["Explanation"];

export function Why() {
  const period = query.value.get("period") ?? "";
  const sought = query.value.get("reason") ?? "";
  const found = useResource(`${project.value} ${period}`, (signal) =>
    settle(api.GET("/api/v1/explain", { params: { query: { project: project.value, ...(period ? { period } : {}) } }, signal })));
  return (
    <Page title="Why denied?" about="And what paid for what" asOf={<AsOf at={found.answer?.asOf} />} actions={<Months chosen={period || (found.answer?.data.billed.statement.period ?? "")} />}>
      <Shown of={found} tall={560}>
        {(data) => (
          <div class="stack">
            <Next now={data.now} />
            {sought && <Reason code={sought} count={data.denied.reasons[sought] ?? 0} />}
            <Card title={`Denied in ${month(data.billed.statement.period)}`} aside={<span>{units(data.denied.total)}, never billed</span>}>
              <Denied denied={data.denied} />
            </Card>
            <Billed billed={data.billed} />
          </div>
        )}
      </Shown>
    </Page>
  );
}

const Months = ({ chosen }: { chosen: string }) => (
  <Field label={<span class="unseen">Month</span>}>
    <input type="month" value={chosen} onChange={(event) => setQuery({ period: event.currentTarget.value || null })} />
  </Field>
);

const NO_OVERAGE: Record<string, string> = {
  not_offered: "this plan offers no overage",
  off: "auto-overage is off",
  past_due: "a bill is overdue, and overage waits for it",
  cap_reached: "the cap of auto-overage is reached",
};

function Next({ now }: { now: Explanation["now"] }) {
  const { verdict } = now;
  const facts = (
    <p class="soft">{words(now.plan)}: {units(now.used)} of {units(now.quota)} units used in {month(now.period)}; {units(now.lots_left)} left in lots.</p>
  );
  if (verdict === "suspended") {
    return <Notice tone="bad" title="The next request is denied: the project is suspended."><p>An operator has suspended it; ask the people who run this meter.</p>{facts}</Notice>;
  }
  if ("quota_exhausted" in verdict) {
    return (
      <Notice tone="bad" title="The next request is denied: quota and lots are used up, and no overage serves it.">
        <p>Because {NO_OVERAGE[verdict.quota_exhausted] ?? verdict.quota_exhausted}. <Go to="/billing/top-up">Buy a pack</Go>, <Go to="/billing/plan">change plan or overage</Go>, or wait for the first of the month.</p>
        {facts}
      </Notice>
    );
  }
  return (
    <Notice tone="good" title="The next request is served.">
      <p>{verdict.served === null ? "Nothing limits the units of this month." : `${units(verdict.served)} units can be served before requests are denied.`} Requests per minute and the number of agents are limited apart.</p>
      {facts}
    </Notice>
  );
}

/** What each reason is and what to do, in a sentence; its page says more. */
const REASONS: Record<string, string> = {
  unauthorized: "The key was missing, unknown or revoked. Look which keys work, and which one the caller sends.",
  quota_exhausted: "Quota and lots were used up and overage did not serve. Buy a pack, turn on auto-overage, or upgrade.",
  project_suspended: "The project was suspended by an operator.",
  agent_limit: "More agents called than the plan admits. Upgrade, or send fewer names in Palveron-Agent.",
  rate_limited: "More requests came within a minute than the plan serves. Spread them, or upgrade; Retry-After says how long to wait.",
  quota_contended: "The last units of the month were held elsewhere for a moment. The caller should try again as Retry-After says.",
  home_unavailable: "The project's home did not answer in time, and nothing was decided. The caller should try again.",
};

const Reason = ({ code, count }: { code: string; count: number }) => (
  <Notice tone="warn" title={`${words(code)}: ${units(count)} in this month`}>
    <p>{REASONS[code] ?? "See its page."} <a href={`/errors/${encodeURIComponent(code)}`} target="_blank" rel="noreferrer">More about it</a></p>
  </Notice>
);

function Denied({ denied }: { denied: Explanation["denied"] }) {
  const reasons = Object.entries(denied.reasons).sort((a, b) => b[1] - a[1]);
  if (denied.total === 0) return <Empty title="Nothing was denied in this month." />;
  return <Bars bars={reasons.map(([code, count]) => ({ name: words(code), count, to: `/why?${new URLSearchParams({ ...Object.fromEntries(query.value), reason: code })}` }))} />;
}

function Billed({ billed: { statement, reasons } }: { billed: Explanation["billed"] }) {
  return (
    <Card title={`What paid for ${month(statement.period)}`} aside={<Tag tone={statement.provisional ? "plain" : "good"}>{statement.provisional ? "provisional: the month goes on" : "closed"}</Tag>}>
      <dl class="facts">
        <dt>Counted</dt><dd><b>{units(statement.counted.units)}</b> units under {words(statement.plan)}, quota {units(statement.quota)}</dd>
        <dt>Included</dt><dd>{units(statement.included)}</dd>
        {statement.lots.map((lot) => <><dt key={`t${lot.lot}`}>Lot {lot.lot}</dt><dd key={`d${lot.lot}`}>{units(lot.units)}, {units(lot.left)} left</dd></>)}
        <dt>Overage</dt><dd>{units(statement.overage)}</dd>
        <dt>Not billed</dt><dd>{units(statement.uncovered)} that nothing covers</dd>
        <dt>Owed</dt><dd><b>{money(statement.total)}</b> beside subscription and packs, by catalogue {statement.catalogue}</dd>
      </dl>
      <details>
        <summary>Entry by entry</summary>
        <Table
          caption="Reasons of the bill"
          rows={reasons}
          name={(reason) => String(reason.entry)}
          empty={<Empty title="Nothing moved yet." />}
          columns={[
            { title: "Entry", cell: (reason) => reason.entry ?? "so far" },
            { title: "Units moved", cell: (reason) => <ul>{reason.movements.map((movement, index) => <li key={index}>{units(movement.units)} from {account(movement.from)} to {account(movement.to)}</li>)}</ul> },
            { title: "Billed", num: true, cell: (reason) => (reason.bill.length === 0 ? "–" : reason.bill.map((line, index) => <div key={index}>{money(line.amount)}</div>)) },
          ]}
        />
      </details>
    </Card>
  );
}

const account = (of: Schemas["Account"]): string => Object.entries(of).map(([name, what]) => `${name.replace(/_/g, " ")} ${String(what)}`).join(" ");
