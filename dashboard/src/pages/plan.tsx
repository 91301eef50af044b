// Billing → Plan: what one has, what pays for the month, what one could have instead, and what happens beyond.
import { useState } from "preact/hooks";
import { api, type Schemas, serverNow, settle } from "../api";
import { date, foreign, moment, money, month, units, words } from "../format";
import type { Part } from "../overview";
import { useResource, type Resource } from "../resource";
import { project, whyNot } from "../session";
import { AsOf, Card, Do, Empty, Field, Figure, Form, Notice, Page, Shown, Tag } from "../ui/parts";
import { Table } from "../ui/table";
import { Ends, Waterfall } from "../ui/waterfall";
import { type Offers, useOffers } from "../offers";

type View = Schemas["PlanView"];

export const usePlan = (): Resource<View> =>
  useResource(project.value, (signal) => settle(api.GET("/api/v1/billing/plan", { params: { query: { project: project.value } }, signal })));

export function Plan() {
  const plan = usePlan();
  const offers = useOffers();
  return (
    <Page title="Plan" about="Billing" asOf={<AsOf at={plan.answer?.asOf} />} actions={<PortalLink />}>
      <Shown of={plan} tall={700}>
        {(view) => (
          <div class="stack">
            <Warnings view={view} />
            <Month view={view} />
            <Overage view={view} plan={plan} offers={offers.answer?.data ?? null} />
            <Shown of={offers} tall={260}>{(data) => <Plans view={view} offers={data} />}</Shown>
            <WhatIf view={view} />
            <Invoices />
            <Thresholds view={view} plan={plan} />
          </div>
        )}
      </Shown>
    </Page>
  );
}

export function Warnings({ view }: { view: View }) {
  return (
    <>
      {view.overdue.map((bill) => (
        <Notice key={bill.invoice} tone="bad" title={`${money(bill.amount)} is overdue since ${date(bill.since)}`}>
          {view.falls_at ? `Without a payment the project falls to community on ${date(view.falls_at)}.` : "Pay it to keep the plan."}{" "}
          {bill.pay_at && <a href={bill.pay_at} rel="noreferrer">Pay now</a>}
        </Notice>
      ))}
      {view.warnings.map((warning) => <Notice key={warning.code} tone="warn" title={words(warning.code)}>{warning.detail}</Notice>)}
      {view.planned.map((planned) => (
        <Notice key={planned.at} title={`${words(planned.plan)} from ${date(planned.at)}`}>With {units(planned.quota)} units a month{planned.interval ? `, paid by the ${planned.interval}` : ""}.</Notice>
      ))}
    </>
  );
}

/** What pays for the month, in the order in which it is used. */
export function partsOf(view: View): Part[] {
  const lots: Part[] = view.lots.used.map((lot) => ({ source: "lot", lot: lot.lot, units: lot.units + lot.left, used: lot.units, left: lot.left }));
  const rest = view.lots.left - view.lots.used.reduce((sum, lot) => sum + lot.left, 0);
  return [
    { source: "included", units: view.quota, used: view.billed.from_quota, left: view.quota - view.billed.from_quota },
    ...lots,
    ...(rest > 0 ? [{ source: "lot" as const, lot: 0, units: rest, used: 0, left: rest }] : []),
    { source: "overage", units: null, used: view.overage.units, left: null, state: view.overage.state },
  ];
}

function Month({ view }: { view: View }) {
  return (
    <>
      <div class="figures">
        <Figure label="Plan" note={view.subscribed === view.plan ? `${units(view.limits.rpm)} requests a minute` : `subscribed: ${view.subscribed}`}>{words(view.plan)}</Figure>
        <Figure name="used" label={month(view.period)} note={`of ${units(view.quota)} included`}>{units(view.used)}</Figure>
        <Figure label="Left" note={`quota and lots; resets ${date(view.resets_at)}`}>{view.remaining === null ? "no limit" : units(view.remaining)}</Figure>
        <Figure label="Owed so far" note="beside subscription and packs">{money(view.total)}</Figure>
      </div>
      <Card title="What pays for this month" aside={<Ends forecast={view.forecast} />}>
        <Waterfall parts={partsOf(view)} used={view.used} />
      </Card>
    </>
  );
}

function Overage({ view, plan, offers }: { view: View; plan: Resource<View>; offers: Offers | null }) {
  const why = whyNot("billing");
  // Whoever may not read the audit log is not told who it was, but that is no reason to ask in vain.
  const last = useResource(whyNot("audit") ? "" : `${view.project} ${view.auto_overage} ${view.overage_cap}`, (signal) => lastSwitch(view.project, signal));
  const terms = offers?.plans.find((offer) => offer.plan === view.plan);
  const offered = terms?.overage !== false && view.overage.state !== "not_offered";
  const per = terms?.overage_per_1000 ?? null;
  const [busy, set] = useState(false);
  const [problem, tell] = useState<unknown>(null);
  const put = async (change: { auto_overage?: boolean; overage_cap?: number | null }): Promise<void> => {
    set(true);
    tell(null);
    try {
      plan.put(await settle(api.PUT("/api/v1/billing/plan", { params: { query: { project: view.project } }, body: change })));
    } finally {
      set(false);
    }
  };
  const minor = (text: string): number => Math.round(Number(text) * 100);
  return (
    <Card title={<span id="overage">Auto-overage</span>} aside={<Tag tone={view.auto_overage ? "accent" : "plain"}>{offered ? (view.auto_overage ? "on" : "off") : "not offered"}</Tag>}>
      {!offered ? (
        <p class="soft">{words(view.plan)} stops at {units(view.quota)} units. Pro and Business can go on beyond the quota, by overage or by top-up packs.</p>
      ) : (
        <div class="grid">
          <div class="half stack">
            <label class="row">
              <input type="checkbox" role="switch" class="switch" checked={view.auto_overage} disabled={busy || why !== ""} title={why || undefined}
                onChange={(event) => put({ auto_overage: event.currentTarget.checked }).catch((error: unknown) => { tell(error); plan.reload(); })} />
              <span>{view.auto_overage ? "Requests beyond quota and lots are served and invoiced at the end of the month." : "Requests beyond quota and lots are denied."}</span>
            </label>
            {why && <p class="soft small-text">{why}</p>}
            {problem !== null && <Notice tone="bad">{problem instanceof Error ? problem.message : "It was not changed."}</Notice>}
            {view.auto_overage && (
              <Form inline submit="Set cap" tone="" why={why} act={async ({ cap }) => put({ overage_cap: cap ? minor(cap) : null })}>
                <Field label={`Cap a month (${view.currency.toUpperCase()})`} hint="empty: no cap">
                  <input name="cap" inputMode="decimal" pattern="\d{1,9}([.]\d{1,2})?" defaultValue={view.overage_cap === null ? "" : (view.overage_cap / 100).toFixed(2)} />
                </Field>
              </Form>
            )}
          </div>
          <dl class="facts half">
            <dt>Price</dt>
            <dd data-name="overage-price">{per === null ? "by contract" : `${money({ minor: per, currency: view.currency })} per 1,000 units`}</dd>
            <dt>Used so far</dt>
            <dd>{units(view.overage.units)} units, {money(view.total)}</dd>
            <dt>Worst case</dt>
            <dd data-name="worst-case">{worstCase(view, per)}</dd>
            <dt>Last set</dt>
            <dd>{whyNot("audit") ? "owners and admins see it in the audit log" : last.answer?.data ? `${moment(last.answer.data.at)} by ${foreign(last.answer.data.by)}` : last.loading ? " " : "not lately"}</dd>
          </dl>
        </div>
      )}
    </Card>
  );
}

/** The most that overage can cost until the month ends. */
function worstCase(view: View, per: number | null): string {
  if (!view.auto_overage) return `${money({ minor: 0, currency: view.currency })}: overage that is off never bills`;
  if (view.overage_cap !== null) return `${money({ minor: view.overage_cap, currency: view.currency })} this month, then requests are denied`;
  const minutes = Math.max(0, Math.ceil((Date.parse(view.resets_at) - serverNow()) / 60_000));
  const left = view.quota - view.billed.from_quota + view.lots.left;
  const most = Math.max(0, minutes * view.limits.rpm - left);
  if (per === null) return "by contract";
  const minor = BigInt(view.total.minor) + (BigInt(most) * BigInt(per)) / 1000n;
  return `${money({ minor: String(minor), currency: view.currency })} if every minute until ${date(view.resets_at)} is used to the full; a cap makes it less`;
}

/** Who set overage last, as far back as the newest page of the audit log goes. */
async function lastSwitch(of: string, signal: AbortSignal) {
  const answer = await settle(api.GET("/api/v1/admin/audit", { params: { query: { project: of } }, signal }));
  const entry = answer.data.entries.find((one) => one.action === "overage.set");
  return { ...answer, data: entry ? { at: entry.at, by: entry.actor.name } : null };
}

function Plans({ view, offers }: { view: View; offers: Offers }) {
  const [yearly, set] = useState(false);
  const rank = offers.plans.findIndex((offer) => offer.plan === view.plan);
  return (
    <Card title="Plans" aside={
      <div class="segments" role="group" aria-label="Paid by">
        <button type="button" aria-pressed={!yearly} onClick={() => set(false)}>Monthly</button>
        <button type="button" aria-pressed={yearly} onClick={() => set(true)}>Annual, two months free</button>
      </div>
    }>
      <div class="packs">
        {offers.plans.map((offer, index) => {
          const price = yearly ? offer.price_year : offer.price_month;
          const mine = offer.plan === view.plan;
          return (
            <div key={offer.plan} class={mine ? "pack here" : "pack"}>
              <div class="row between"><h3>{words(offer.plan)}</h3>{mine && <Tag tone="accent">yours</Tag>}</div>
              <div class="value">{price === null ? "By contract" : money({ minor: price, currency: offers.currency })}{price !== null && <small> a {yearly ? "year" : "month"}</small>}</div>
              <ul>
                <li>{units(offer.included)} units a month</li>
                <li>{units(offer.rpm)} requests a minute</li>
                <li>{offer.agents_max === null ? "any number of agents" : `${units(offer.agents_max)} agents`}, {offer.members_max === null ? "any number of members" : `${units(offer.members_max)} ${offer.members_max === 1 ? "member" : "members"}`}</li>
                <li>{offer.overage ? (offer.overage_per_1000 === null ? "overage by contract" : `overage ${money({ minor: offer.overage_per_1000, currency: offers.currency })} per 1,000`) : "hard stop"}</li>
              </ul>
              {!mine && (offer.plan === "pro" || offer.plan === "business") && (
                <Change view={view} offer={offer.plan} interval={yearly ? "year" : "month"} up={index > rank} />
              )}
              {!mine && offer.plan === "community" && rank > 0 && <p class="soft small-text" data-name="cancel">By the payment portal: cancel there, and it ends {view.paid_until ? `${moment(view.paid_until)}, when what is paid ends` : "at once: nothing is paid ahead"}.</p>}
              {!mine && offer.plan === "enterprise" && <p class="soft small-text">Ask the people who run this meter.</p>}
            </div>
          );
        })}
      </div>
    </Card>
  );
}

/** This month on every plan, with overage and without, from what was really counted. */
function WhatIf({ view }: { view: View }) {
  const [asked, ask] = useState<number | undefined>(undefined);
  const compared = useResource(`${view.project} ${view.plan} ${view.auto_overage} ${asked ?? ""}`, (signal) =>
    settle(api.GET("/api/v1/billing/what-if", { params: { query: { project: view.project, units: asked } }, signal })));
  return (
    <Card title="What if" aside={<AsOf at={compared.answer?.asOf} />}>
      <Shown of={compared} lines={6}>
        {(data) => (
          <div class="stack">
            <div class="row">
              <div class="segments" role="group" aria-label="Units to compare">
                <button type="button" aria-pressed={asked === undefined} onClick={() => ask(undefined)}>So far: {units(data.counted)}</button>
                <button type="button" aria-pressed={asked === data.forecast} onClick={() => ask(data.forecast)}>By the month's end: {units(data.forecast)}</button>
              </div>
              <Form inline submit="Compare" tone="" act={async ({ many = "" }) => ask(many ? Number(many) : undefined)}>
                <Field label="Another number of units"><input name="many" inputMode="numeric" pattern="\d{1,15}" /></Field>
              </Form>
            </div>
            <Table
              caption={`${units(data.units)} units of ${month(data.period)} on each plan`}
              rows={data.options}
              name={(row) => `${row.plan} ${row.overage}`}
              columns={[
                { title: "Plan", cell: (row) => <>{words(row.plan)}{row.overage ? " with overage" : ""} {row.present && <Tag tone="accent">yours</Tag>}</> },
                { title: "Quota pays", num: true, wide: true, cell: (row) => units(row.from_quota) },
                { title: "Packs pay", num: true, wide: true, cell: (row) => units(row.from_lots) },
                { title: "Overage", num: true, wide: true, cell: (row) => units(row.from_overage) },
                { title: "Refused", num: true, cell: (row) => units(row.refused), by: (row) => row.refused },
                { title: "Subscription", num: true, wide: true, cell: (row) => (row.subscription ? money(row.subscription) : "by contract") },
                { title: "Month in all", num: true, cell: (row) => (row.total ? money(row.total) : "by contract"), by: (row) => (row.total ? Number(row.total.minor) : 0), csv: (row) => (row.total ? money(row.total) : "by contract") },
              ]}
            />
            <p class="soft small-text">
              Computed as the month's own bill is, from units that were served{data.refused_for_quota > 0 ? `; ${units(data.refused_for_quota)} requests that were refused for want of units are in no figure` : ""}. Overage without a cap; the month's end at the pace of the last seven days.
            </p>
          </div>
        )}
      </Shown>
    </Card>
  );
}

function Change({ view, offer, interval, up }: { view: View; offer: string; interval: "month" | "year"; up: boolean }) {
  // What is paid for is kept to its last second; where nothing is paid ahead, there is nothing to keep.
  const until = up ? null : view.paid_until;
  const when = until ? `From ${moment(until)}: until then you keep ${words(view.subscribed)}, which is paid` : "At once, once it is paid";
  return (
    <>
      <p class="soft small-text" data-name={`change-${offer}`}>{when}.</p>
      <Do why={whyNot("billing")} tone={up ? "primary" : ""} {...(until ? { confirm: `Change to ${words(offer)} from ${moment(until)}? Until then you keep ${words(view.subscribed)}.` } : {})} act={async () => {
        const answer = await settle(api.POST("/api/v1/stripe/checkout", { params: { query: { project: view.project } }, body: { plan: offer, interval } }));
        if (answer.data.url) location.assign(answer.data.url);
      }}>{up ? `Upgrade to ${words(offer)}` : `Change to ${words(offer)}`}</Do>
    </>
  );
}

const STATES: Record<string, "good" | "warn" | "bad" | "plain"> = { paid: "good", open: "warn", overdue: "bad", failed: "bad", provisional: "plain" };

function Invoices() {
  const invoices = useResource(project.value, (signal) => settle(api.GET("/api/v1/billing/invoices", { params: { query: { project: project.value } }, signal })));
  return (
    <Card title="Invoices for what was used" aside={<AsOf at={invoices.answer?.asOf} />}>
      <Shown of={invoices} lines={3}>
        {({ invoices: rows }) => (
          <Table
            caption="Invoices by month"
            find="invoice"
            rows={rows}
            name={(row) => row.period}
            empty={<Empty title="No month was invoiced yet.">A month is rated 72 hours after it ends.</Empty>}
            columns={[
              { title: "Month", cell: (row) => month(row.period), by: (row) => row.period },
              { title: "Plan", cell: (row) => words(row.plan), wide: true },
              { title: "Units", num: true, cell: (row) => units(row.units), by: (row) => row.units },
              { title: "Total", num: true, cell: (row) => money(row.total) },
              { title: "State", cell: (row) => <Tag tone={STATES[row.state] ?? "plain"}>{words(row.state)}</Tag> },
              { title: "Evidence", cell: (row) => <a href={`/why?period=${row.period}`}>why</a> },
            ]}
          />
        )}
      </Shown>
    </Card>
  );
}

function Thresholds({ view, plan }: { view: View; plan: Resource<View> }) {
  const set = async ({ levels = "" }: Record<string, string>): Promise<void> => {
    const thresholds = levels.trim() ? levels.split(/[\s,]+/).map(Number) : null;
    plan.put(await settle(api.PUT("/api/v1/billing/plan", { params: { query: { project: view.project } }, body: { thresholds } })));
  };
  return (
    <Card title="Told at" aside={<span>by webhook, once each a month</span>}>
      <Form inline submit="Set" tone="" why={whyNot("billing")} act={set}>
        <Field label="Percentages of the quota" hint="empty: the plan's own">
          <input name="levels" defaultValue={view.thresholds.join(", ")} inputMode="numeric" />
        </Field>
      </Form>
      {view.crossings.length > 0 && (
        <ul class="legend">{view.crossings.map((crossing) => <li key={`${crossing.percent} ${crossing.quota_version}`}>{crossing.percent} % on {moment(crossing.at)} with <b>{units(crossing.used)}</b> units</li>)}</ul>
      )}
    </Card>
  );
}

/** A link that can be handed to whoever pays, who needs no account here. */
export function PortalLink() {
  const [url, set] = useState("");
  if (url) return <span class="row"><a class="button" href={url} rel="noreferrer">Open the portal</a><span class="soft small-text">short-lived; can be handed to finance</span></span>;
  return (
    <Do why={whyNot("billing")} act={async () => set((await settle(api.GET("/api/v1/stripe/portal", { params: { query: { project: project.value } } }))).data.url)}>Payment portal link</Do>
  );
}
