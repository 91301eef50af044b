// Contracts: what enterprise customers have agreed to, and the on-premise reporters that count for it. For operators.
import { useState } from "preact/hooks";
import { api, type Schemas, settle } from "../api";
import { date, foreign, moment, money, units, words } from "../format";
import { useResource } from "../resource";
import { path } from "../router";
import { lastWord } from "../routes";
import { whyNot } from "../session";
import { Card, Do, Empty, Field, Figure, Form, Go, Secret, Shown, Tag, When } from "../ui/parts";
import { Table } from "../ui/table";
import { Operators } from "./operator";

type Contract = Schemas["ContractView"];
type Reporter = Schemas["ReporterView"];
type Tier = Schemas["Tier"];
type BaseFee = Schemas["BaseFee"];

const PHASES: Record<Contract["phase"], "good" | "warn" | "plain"> = { running: "good", planned: "warn", ended: "plain" };

const day = (text: string): string => date(`${text}T00:00:00Z`);
const term = (contract: Contract): string => `${day(contract.first_day)} to ${contract.last_day ? day(contract.last_day) : "further notice"}`;

/** Tiers in words: each rate, and up to which unit of overage it holds. */
const tiers = (contract: Contract): string =>
  contract.tiers.map((tier) => `${money({ minor: tier.per_1000, currency: contract.currency })} per 1,000${tier.up_to === null ? "" : ` up to ${units(tier.up_to)}`}`).join(", then ");

export function Contracts() {
  const all = useResource(whyNot("operate") ? "" : "contracts", (signal) => settle(api.GET("/api/v1/admin/contracts", { signal })));
  return (
    <Operators title="Contracts" about="Enterprise terms; a project under one is on plan enterprise while it runs" asOf={all.answer?.asOf}>
      <When of={[all]}>
        <Card title="All contracts">
          <Shown of={all} lines={5}>
            {(data) => (
              <Table
                caption="Contracts"
                find="find"
                rows={data.contracts}
                name={(one) => one.id}
                empty={<Empty title="No contract yet.">Make one below, or with meter contract create.</Empty>}
                columns={[
                  { title: "Contract", cell: (one) => <Go to={`/operator/contracts/${one.id}`}>{one.id}</Go>, by: (one) => one.id },
                  { title: "Customer", cell: (one) => foreign(one.customer), by: (one) => one.customer },
                  { title: "Units a month", num: true, cell: (one) => units(one.volume), by: (one) => one.volume },
                  { title: "Minimum", num: true, cell: (one) => units(one.minimum), by: (one) => one.minimum, wide: true },
                  { title: "Term", cell: (one) => <span class="nowrap">{term(one)}</span>, by: (one) => one.first_day, csv: term, wide: true },
                  { title: "State", cell: (one) => <Tag tone={PHASES[one.phase]}>{words(one.phase)}</Tag>, by: (one) => one.phase },
                ]}
              />
            )}
          </Shown>
        </Card>
        <Card title="New contract"><NewContract made={() => all.reload()} /></Card>
      </When>
    </Operators>
  );
}

/** The tiers of a form: one rate, and from a bound on another. */
function rated(rate: string, bound: string, further: string): Tier[] {
  const first = { up_to: bound ? Number(bound) : null, per_1000: Number(rate) };
  return bound ? [first, { up_to: null, per_1000: Number(further || rate) }] : [first];
}

function NewContract({ made }: { made: () => void }) {
  return (
    <Form submit="Make contract" act={async ({ id = "", customer = "", projects = "", volume, minimum, rate = "", bound = "", further = "", first = "", last = "", sla = "", fee = "", per = "" }, form) => {
      const body = {
        id, customer, sla, volume: Number(volume), minimum: Number(minimum), first_day: first,
        tiers: rated(rate, bound, further), projects: projects.split(/[\s,]+/).filter(Boolean), ...(last ? { last_day: last } : {}),
        ...(fee ? { base_fee: { minor: Number(fee), per: per as BaseFee["per"] } } : {}),
      };
      await settle(api.POST("/api/v1/admin/contracts", { body }));
      form.reset();
      made();
    }}>
      <div class="grid">
        <div class="half"><Field label="Id" hint="a-z, 0-9 and hyphens"><input name="id" required pattern="[a-z0-9]([a-z0-9\-]{0,46}[a-z0-9])?" /></Field></div>
        <div class="half"><Field label="Customer"><input name="customer" required maxLength={200} /></Field></div>
        <div class="half"><Field label="Projects" hint="ids, with commas between them"><input name="projects" /></Field></div>
        <div class="half"><Field label="Service level"><input name="sla" required maxLength={4000} /></Field></div>
        <div class="half"><Field label="Units a month"><input name="volume" type="number" min={0} required /></Field></div>
        <div class="half"><Field label="Minimum a month" hint="billed after 72 hours of silence"><input name="minimum" type="number" min={0} required /></Field></div>
        <div class="half row">
          <Field label="Base fee" hint="minor units; empty: none"><input name="fee" type="number" min={0} /></Field>
          <Field label="For"><select name="per"><option value="month">each month</option><option value="term">the whole term</option></select></Field>
        </div>
        <div class="half"><Field label="Overage per 1,000" hint="minor units"><input name="rate" type="number" min={0} required /></Field></div>
        <div class="half row">
          <Field label="Up to" hint="empty: without an end"><input name="bound" type="number" min={1} /></Field>
          <Field label="Then per 1,000" hint="minor units"><input name="further" type="number" min={0} /></Field>
        </div>
        <div class="half"><Field label="First day"><input name="first" type="date" required /></Field></div>
        <div class="half"><Field label="Last day" hint="empty: it runs on"><input name="last" type="date" /></Field></div>
      </div>
    </Form>
  );
}

export function ContractPage() {
  const id = lastWord(path.value);
  const params = { path: { name: id } };
  const found = useResource(whyNot("operate") ? "" : id, (signal) => settle(api.GET("/api/v1/admin/contracts/{name}", { params, signal })));
  return (
    <Operators title={id} about={<Go to="/operator/contracts">Contracts</Go>} asOf={found.answer?.asOf}>
      <Shown of={found} tall={420}>
        {(one) => (
          <div class="stack">
            <div class="figures">
              <Figure label="Customer" note={one.phase}>{foreign(one.customer)}</Figure>
              <Figure label="Units a month" note={`overage ${tiers(one)}`}>{units(one.volume)}</Figure>
              <Figure label="Minimum" note="a month, after 72 hours of silence">{units(one.minimum)}</Figure>
            </div>
            <Card title="Terms">
              <dl class="facts">
                <dt>Term</dt><dd>{term(one)}{one.notice_day ? `; notice until ${day(one.notice_day)}` : ""}</dd>
                <dt>Base fee</dt>
                <dd>{one.base_fee ? `${money({ minor: one.base_fee.minor, currency: one.currency })} ${one.base_fee.per === "month" ? "a month" : "for the term"}` : "none"}</dd>
                <dt>Service level</dt><dd>{foreign(one.sla)}</dd>
                <dt>Development</dt><dd>{one.bills_development ? "units of development are billed" : "units of development are counted and not billed"}</dd>
                <dt>Projects</dt>
                <dd>{one.projects.length === 0 ? "none" : one.projects.map((project) => <><Go key={project} to={`/operator/projects/${project}`}>{project}</Go>{" "}</>)}</dd>
              </dl>
              {one.phase !== "ended" && (
                <Form inline submit="End it" tone="danger" act={async ({ last = "" }) => { found.put(await settle(api.POST("/api/v1/admin/contracts/{name}/end", { params, body: { last_day: last } }))); }}>
                  <Field label="Last day"><input name="last" type="date" required /></Field>
                </Form>
              )}
            </Card>
            <Reporters contract={one} />
            <Documents contract={one} />
          </div>
        )}
      </Shown>
    </Operators>
  );
}

function Reporters({ contract }: { contract: Contract }) {
  const query = { contract: contract.id };
  const all = useResource(contract.id, (signal) => settle(api.GET("/api/v1/admin/reporters", { params: { query }, signal })));
  const [fresh, show] = useState<{ what: string; text: string } | null>(null);
  const keyFor = async (reporter: string): Promise<void> => {
    const { data } = await settle(api.POST("/api/v1/admin/reporters/{name}/keys", { params: { path: { name: reporter } } }));
    show({ what: `TELEMETRY_HMAC_KEY of ${reporter}, key ${data.id}`, text: data.key });
  };
  return (
    <Card title="Reporters" aside={<span>on-premise deployments that report signed counts</span>}>
      <div class="stack">
        {fresh && <Secret what={fresh.what} text={fresh.text} />}
        <Shown of={all} lines={3}>
          {(data) => (
            <Table
              caption="Reporters"
              find="reporter"
              rows={data.reporters}
              name={(one) => one.id}
              empty={<Empty title="No reporter yet.">A deployment on the customer's own machines needs one, and a key for it.</Empty>}
              columns={[
                { title: "Reporter", cell: (one) => <code>{one.id}</code>, by: (one) => one.id },
                { title: "Project", cell: (one) => <Go to={`/operator/projects/${one.project}`}>{one.project}</Go>, wide: true },
                { title: "For", cell: (one) => words(one.environment), wide: true },
                { title: "Limits", cell: (one) => `${units(one.rpm)} a minute${one.units_max === null ? "" : `, ${units(one.units_max)} a month`}`, wide: true },
                { title: "State", cell: (one) => <Stands of={one} /> },
                { title: "Actions", cell: (one) => (one.retired_at ? null : (
                  <span class="row">
                    <Do act={() => keyFor(one.id)}>New key</Do>
                    <Do tone="danger" confirm={`Retire ${one.id}? Nothing is expected of it any more, and its keys are refused.`} act={async () => { await settle(api.DELETE("/api/v1/admin/reporters/{name}", { params: { path: { name: one.id } } })); all.reload(); }}>Retire</Do>
                  </span>
                )) },
              ]}
            />
          )}
        </Shown>
        {contract.phase !== "ended" && contract.projects.length > 0 && (
          <Form inline submit="Make reporter" act={async ({ id = "", project = "", rpm, environment }, form) => {
            const body = { id, project, rpm: Number(rpm), environment: environment as Reporter["environment"] };
            await settle(api.POST("/api/v1/admin/contracts/{name}/reporters", { params: { path: { name: contract.id } }, body }));
            form.reset();
            all.reload();
            await keyFor(id);
          }}>
            <Field label="Id"><input name="id" required pattern="[a-z0-9]([a-z0-9\-]{0,46}[a-z0-9])?" /></Field>
            <Field label="Project"><select name="project">{contract.projects.map((project) => <option key={project} value={project}>{project}</option>)}</select></Field>
            <Field label="Requests a minute"><input name="rpm" type="number" min={1} max={1_000_000} required /></Field>
            <Field label="For"><select name="environment"><option value="production">Production</option><option value="development">Development</option></select></Field>
          </Form>
        )}
      </div>
    </Card>
  );
}

const STATES: Record<Reporter["state"], "good" | "warn" | "bad" | "plain"> = {
  ok: "good", air_gap: "good", late: "warn", silent: "bad", refused_key: "bad", refused_clock: "bad", contract_ended: "plain",
};

/** How a reporter stands, by its cause, and what is left until the contract's minimum is billed. */
function Stands({ of: one }: { of: Reporter }) {
  if (one.retired_at) return <Tag>{`retired ${date(one.retired_at)}`}</Tag>;
  return (
    <>
      <Tag tone={STATES[one.state]}>{words(one.state)}</Tag>
      <div class="soft small-text">
        {one.heard_at ? `heard ${moment(one.heard_at)}` : "never heard"}
        {one.state === "silent" ? "; the minimum is billed" : `; ${one.hours_left} hours until the minimum is billed`}
        {one.forked_at && `; another folder was refused ${moment(one.forked_at)}`}
      </div>
    </>
  );
}

/** What the contract's months came to: invoices, and what was put right about them. */
function Documents({ contract }: { contract: Contract }) {
  const params = { path: { name: contract.id } };
  const all = useResource(contract.id, (signal) => settle(api.GET("/api/v1/admin/contracts/{name}/documents", { params, signal })));
  const at = (name: string, form: string): string => `/api/v1/admin/contracts/${contract.id}/documents/${name}/${form}`;
  return (
    <Card title="Documents" aside={<span>a month is invoiced at most 72 hours after its end</span>}>
      <Shown of={all} lines={2}>
        {(data) => (
          <Table
            caption="Documents"
            find="document"
            rows={data.documents}
            name={(one) => one.name}
            empty={<Empty title="No month was invoiced yet." />}
            columns={[
              { title: "Document", cell: (one) => <code>{one.name}</code>, by: (one) => one.name },
              { title: "Why", cell: (one) => words(one.cause), wide: true },
              { title: "Reported", num: true, cell: (one) => units(one.figures.counted), wide: true },
              { title: "Billed", num: true, cell: (one) => units(one.figures.billed), wide: true },
              { title: "Silent", cell: (one) => one.figures.silent.join(", ") || "–", wide: true },
              { title: "Amount", num: true, cell: (one) => money(one.amount) },
              { title: "Forms", cell: (one) => <span class="row"><a href={at(one.name, "page")}>print</a><a href={at(one.name, "xml")}>XML</a></span> },
            ]}
          />
        )}
      </Shown>
    </Card>
  );
}
