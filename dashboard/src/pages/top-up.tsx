// Billing → Top-up: packs and how long they last, what became of each lot, and packs that are bought by themselves.
import { useState } from "preact/hooks";
import { api, serverNow, type Schemas, settle } from "../api";
import { addDays, monthsAgo, toDay } from "../days";
import { date, dayName, foreign, moment, money, month, perThousand, units, words } from "../format";
import { type Offers, useOffers } from "../offers";
import { type Paid, paid, usage } from "../report";
import { type Resource, useResource } from "../resource";
import { project, whyNot } from "../session";
import { AsOf, Card, Do, Empty, Field, Form, Go, Notice, Page, Shown, Tag, When } from "../ui/parts";
import { Table } from "../ui/table";
import { usePlan, Warnings } from "./plan";

type View = Schemas["PlanView"];
type Lot = Schemas["LotView"];

const PACE_DAYS = 7;
/** How far back the days are told that a lot paid for. */
const MONTHS_MAX = 24;

export function TopUp() {
  const plan = usePlan();
  const offers = useOffers();
  const lots = useResource(project.value, (signal) => settle(api.GET("/api/v1/billing/top-ups", { params: { query: { project: project.value } }, signal })));
  const today = toDay(serverNow());
  const pace = useResource(`${project.value} pace`, (signal) => usage(project.value, { from: addDays(today, -PACE_DAYS), to: addDays(today, -1) }, "live", signal));
  // As far back as any lot paid, which is asked for once it is known.
  const periods = lots.answer?.data.lots.flatMap((lot) => lot.paid_for.map((part) => part.period)).sort() ?? [];
  const since = [`${periods[0] ?? today.slice(0, 7)}-01`, monthsAgo(today, MONTHS_MAX)].sort().at(-1) ?? today;
  const days = useResource(lots.answer ? `${project.value} paid ${since}` : "", (signal) => paid(project.value, { from: since, to: today }, signal));
  const daily = pace.answer ? pace.answer.data.total / PACE_DAYS : null;
  return (
    <Page title="Top-up" about="Billing" asOf={<AsOf at={lots.answer?.asOf} />}>
      <When of={[plan, offers, lots, pace, days]}>
        {plan.answer && <Warnings view={plan.answer.data} />}
        <Card title="Packs" aside={<span>used after the quota, the oldest first; they never expire</span>}>
          <Shown of={offers} tall={170}>{(data) => <Packs offers={data} view={plan.answer?.data ?? null} daily={daily} />}</Shown>
        </Card>
        <Card title="Lots" aside={<AsOf at={lots.answer?.asOf} />}>
          <Shown of={lots} lines={4}>{(data) => <Lots lots={data.lots} days={days.answer?.data.days ?? []} />}</Shown>
        </Card>
        <Card title="Automatic top-up">
          <Shown of={plan} lines={4}>{(view) => <Automatic view={view} plan={plan} offers={offers.answer?.data ?? null} />}</Shown>
        </Card>
      </When>
    </Page>
  );
}

function Packs({ offers, view, daily }: { offers: Offers; view: View | null; daily: number | null }) {
  const terms = offers.plans.find((offer) => offer.plan === view?.plan);
  const none = view && terms && !terms.top_ups ? `${words(view.plan)} takes no packs: upgrade to Pro or Business first.` : "";
  return (
    <>
      {none && <Notice>{none} <Go to="/billing/plan">To the plans</Go></Notice>}
      <div class="packs">
        {offers.packs.map((pack) => (
          <div key={pack.pack} class="pack">
            <h3>{words(pack.pack)}</h3>
            <div class="value">+{units(pack.units)} <small>units</small></div>
            <ul>
              <li><b>{money({ minor: pack.price, currency: offers.currency })}</b>, {money({ minor: perThousand(pack.price, pack.units), currency: offers.currency })} per 1,000</li>
              <li>{lasts(pack.units, daily)}</li>
            </ul>
            <Do why={none || whyNot("billing")} tone="primary" act={async () => {
              const answer = await settle(api.POST("/api/v1/stripe/checkout", { params: { query: { project: project.value } }, body: { pack: pack.pack } }));
              if (answer.data.url) location.assign(answer.data.url);
            }}>Buy {words(pack.pack).toLowerCase()}</Do>
          </div>
        ))}
      </div>
    </>
  );
}

function lasts(count: number, daily: number | null): string {
  if (daily === null) return " ";
  if (daily < 1) return `no pace yet: nothing was counted in the last ${PACE_DAYS} days`;
  const days = Math.floor(count / daily);
  return `lasts ${days < 1 ? "less than a day" : `${units(days)} ${days === 1 ? "day" : "days"}`} at ${units(Math.round(daily))} units a day`;
}

/** Where a lot's units are beside those that it paid for: frozen by a dispute, or taken back. */
function state(lot: Lot): { tone: "good" | "plain" | "warn" | "bad"; name: string; why: string } {
  let frozen = 0;
  let returned = 0;
  for (const event of lot.history) {
    for (const { from, to, units: count } of event.movements) {
      if ("frozen" in to) frozen += count;
      if ("frozen" in from) frozen -= count;
      if ("returned" in to) returned += count;
      if ("returned" in from) returned -= count;
    }
  }
  if (frozen > 0) return { tone: "bad", name: `${units(frozen)} frozen`, why: "its payment is disputed" };
  if (returned > 0) return { tone: "warn", name: `${units(returned)} taken back`, why: "its payment was refunded or lost" };
  return lot.left > 0 ? { tone: "good", name: "in use", why: "" } : { tone: "plain", name: "used up", why: "" };
}

/** From which day to which a lot paid, in a month; a month is paid in the order of its days. */
function daysOf(lot: number, period: string, days: Paid["days"]): string {
  const paying = days.filter((day) => day.date.startsWith(period) && day.lots.some((part) => part.lot === lot));
  const [first, last] = [paying[0]?.date, paying.at(-1)?.date];
  if (!first || !last) return "";
  return first === last ? dayName(first) : `${dayName(first)} to ${dayName(last)}`;
}

const Lots = ({ lots, days }: { lots: Lot[]; days: Paid["days"] }) => (
  <Table
    caption="Lots, the oldest first"
    find="lot"
    rows={lots}
    name={(lot) => lot.lot}
    empty={<Empty title="No lot yet.">Packs that you buy and units that you are given appear here.</Empty>}
    columns={[
      { title: "Lot", cell: (lot) => <div class="lead"><b>{lot.lot}</b> <span class="soft">{words(lot.kind)}</span>{lot.reason && <div class="soft small-text">{lot.reason}</div>}</div> },
      { title: "Since", cell: (lot) => <span class="nowrap" title={moment(lot.at)}>{date(lot.at)}</span>, by: (lot) => lot.at, wide: true },
      { title: "Paid", num: true, cell: (lot) => (lot.paid ? money(lot.paid) : "given"), wide: true },
      { title: "Units", num: true, cell: (lot) => units(lot.units), by: (lot) => lot.units },
      { title: "Used", num: true, cell: (lot) => units(lot.paid_for.reduce((sum, part) => sum + part.units, 0)) },
      { title: "Left", num: true, cell: (lot) => <b>{units(lot.left)}</b>, by: (lot) => lot.left },
      { title: "State", cell: (lot) => { const { tone, name, why } = state(lot); return <><Tag tone={tone}>{name}</Tag>{why && <div class="soft small-text">{why}</div>}</>; } },
      { title: "Paid for", cell: (lot) => (lot.paid_for.length === 0 ? "nothing yet" : lot.paid_for.map((part) => <div key={part.period}><span class="nowrap">{month(part.period)}: {units(part.units)}{part.provisional ? " so far" : ""}</span> <span class="soft small-text nowrap" data-name="lot-days">{daysOf(lot.lot, part.period, days)}</span></div>)) },
    ]}
  />
);

const ATTEMPTS: Record<string, "good" | "bad" | "plain"> = { paid: "good", failed: "bad", expired: "plain", new: "plain", open: "plain", processing: "plain" };

function Automatic({ view, plan, offers }: { view: View; plan: Resource<View>; offers: Offers | null }) {
  const rule = view.auto_top_up;
  const [pack, choose] = useState(rule?.pack ?? "small");
  const [limit, setLimit] = useState(rule?.monthly_limit ?? 1);
  const price = offers?.packs.find((offer) => offer.pack === pack)?.price;
  const put = async (auto_top_up: Schemas["TopUpRule"] | null): Promise<void> => {
    plan.put(await settle(api.PUT("/api/v1/billing/plan", { params: { query: { project: view.project } }, body: { auto_top_up } })));
  };
  const why = whyNot("billing");
  return (
    <div class="grid">
      <div class="half">
        <Form submit={rule ? "Change" : "Turn on"} why={why} act={({ below }) => put({ pack: pack as "small", below: Number(below), monthly_limit: limit })}>
          <Field label="Buy this pack">
            <select name="pack" value={pack} onChange={(event) => choose(event.currentTarget.value)}>
              {(offers?.packs ?? []).map((offer) => <option key={offer.pack} value={offer.pack}>{words(offer.pack)}: +{units(offer.units)}</option>)}
            </select>
          </Field>
          <Field label="When fewer units are left than"><input name="below" type="number" min={1} required defaultValue={rule?.below ?? 1000} /></Field>
          <Field label="At most so often a month" hint={price === undefined ? "" : `never more than ${money({ minor: price * limit, currency: view.currency })} a month`}>
            <input name="limit" type="number" min={1} max={100} required value={limit} onInput={(event) => setLimit(Number(event.currentTarget.value))} />
          </Field>
        </Form>
      </div>
      <div class="half">
        {rule ? (
          <>
            <dl class="facts">
              <dt>State</dt>
              <dd><Tag tone={rule.state === "on" ? "good" : "bad"}>{rule.state}</Tag></dd>
              <dt>Rule</dt>
              <dd>a {rule.pack} pack when fewer than {units(rule.below)} are left</dd>
              <dt>This month</dt>
              <dd>{rule.bought_this_month} of at most {rule.monthly_limit}</dd>
              <dt>Failed in a row</dt>
              <dd>{rule.failures}{rule.last_failure ? `, the last: ${words(rule.last_failure)}` : ""}</dd>
              {rule.next_try_at && <><dt>Held back until</dt><dd>{moment(rule.next_try_at)}</dd></>}
            </dl>
            {rule.attempts.length > 0 && (
              <>
                <h3>Last attempts</h3>
                <ul class="attempts">
                  {rule.attempts.map((one) => (
                    <li key={one.at} class="row between">
                      <span><span class="nowrap">{moment(one.at)}</span>: {words(one.pack).toLowerCase()}, {money(one.price)}{one.reason && <span class="soft small-text"> {foreign(one.reason)}</span>}</span>
                      <Tag tone={ATTEMPTS[one.state] ?? "warn"}>{words(one.state)}</Tag>
                    </li>
                  ))}
                </ul>
              </>
            )}
            {rule.state !== "on" && <Notice tone="warn" title="Stopped after payments that failed">Set the rule again, or add another payment method in the portal.</Notice>}
            <p class="row"><Do why={why} tone="danger" act={() => put(null)}>Turn off</Do></p>
          </>
        ) : <Empty title="Off">Nothing is bought that you do not buy yourself.</Empty>}
      </div>
    </div>
  );
}
