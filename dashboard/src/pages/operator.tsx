// What operators look at: projects, the plan catalogue, payments that need a person, quarantined cells, accounts.
import { useState } from "preact/hooks";
import { api, type Problem, problemOf, type Schemas, settle } from "../api";
import { agentName, date, foreign, moment, money, units, words } from "../format";
import { useResource } from "../resource";
import { go, path, query, setQuery } from "../router";
import { lastWord } from "../routes";
import { choose, project, whyNot } from "../session";
import { Draft } from "../ui/draft";
import { Erase, type Erased, ErasedNotice } from "../ui/erase";
import { AsOf, Card, Do, Empty, Field, Figure, Form, Go, Notice, Page, Secret, Shown, Tag, Trouble, type Children, When } from "../ui/parts";
import { Table } from "../ui/table";

type Project = Schemas["ProjectView"];

export function Operators({ title, about, asOf, actions, children }: { title: string; about?: Children; asOf?: string | undefined; actions?: Children; children: Children }) {
  const why = whyNot("operate");
  return <Page title={title} about={about} asOf={<AsOf at={asOf} />} actions={actions}>{why ? <Empty title="This is for operators.">{why}</Empty> : children}</Page>;
}

const PAGES_MAX = 40;

/** Every project, page by page; the search looks through all of them. */
async function allProjects(signal: AbortSignal) {
  const found: Project[] = [];
  let after: string | null = null;
  for (let page = 0; ; page += 1) {
    const answer = await settle(api.GET("/api/v1/admin/projects", { params: { query: after ? { after } : {} }, signal }));
    const { projects, next } = answer.data as Schemas["ProjectPage"];
    found.push(...projects);
    if (!next || page === PAGES_MAX) return { ...answer, data: { projects: found, more: next !== null } };
    after = next;
  }
}

export function Projects() {
  const all = useResource(whyNot("operate") ? "" : "projects", allProjects);
  const sought = query.value.get("find") ?? "";
  return (
    <Operators title="Projects" asOf={all.answer?.asOf}>
      <When of={[all]}>
        <Card title="All projects" aside={<input type="search" aria-label="Find a project" placeholder="Find by id or plan" value={sought} onInput={(event) => setQuery({ find: event.currentTarget.value }, { replace: true })} />}>
          <Shown of={all} lines={8}>
            {(data) => (
              <>
                <Table
                  caption="Projects"
                  rows={data.projects.filter((one) => !sought || one.id.includes(sought.toLowerCase()) || one.plan.includes(sought.toLowerCase()))}
                  name={(one) => one.id}
                  empty={<Empty title={sought ? "No project has that in its id or plan." : "No project yet."} />}
                  columns={[
                    { title: "Project", cell: (one) => <Go to={`/operator/projects/${one.id}`}>{one.id}</Go>, by: (one) => one.id },
                    { title: "Plan", cell: (one) => words(one.plan), by: (one) => one.plan },
                    { title: "Included", num: true, cell: (one) => units(one.included), by: (one) => one.included },
                    { title: "A minute", num: true, cell: (one) => units(one.rpm), by: (one) => one.rpm, wide: true },
                    { title: "Overage", cell: (one) => (one.auto_overage ? "on" : "off"), wide: true },
                    { title: "Since", cell: (one) => date(one.created_at), by: (one) => one.created_at, wide: true },
                    { title: "State", cell: (one) => (one.suspended ? <Tag tone="bad">suspended</Tag> : <Tag tone="good">open</Tag>) },
                    { title: "Actions", cell: (one) => <button type="button" class="small" onClick={() => { choose(one.id); go("/"); }}>Look at it</button> },
                  ]}
                />
                {data.more && <Notice>There are more than these; find them by the API.</Notice>}
              </>
            )}
          </Shown>
        </Card>
        <Card title="New project">
          <Form inline submit="Make project" act={async ({ id = "", plan }) => {
            await settle(api.POST("/api/v1/admin/projects", { body: { id, plan: plan as "pro" } }));
            all.reload();
          }}>
            <Field label="Id" hint="a-z, 0-9 and hyphens"><input name="id" required pattern="[a-z0-9]([a-z0-9\-]{0,46}[a-z0-9])?" /></Field>
            <Field label="Plan"><select name="plan">{["community", "pro", "business", "enterprise"].map((plan) => <option key={plan} value={plan}>{words(plan)}</option>)}</select></Field>
          </Form>
        </Card>
      </When>
    </Operators>
  );
}

export function ProjectPage() {
  const id = lastWord(path.value);
  const params = { path: { project: id } };
  const found = useResource(whyNot("operate") ? "" : id, (signal) => settle(api.GET("/api/v1/admin/projects/{project}", { params, signal })));
  const change = async (body: { suspended?: boolean; rpm?: number | null; included?: number | null; plan?: Project["plan"] }): Promise<void> => {
    found.put(await settle(api.PATCH("/api/v1/admin/projects/{project}", { params, body })));
  };
  const own = (text: string | undefined): number | null => (text ? Number(text) : null);
  return (
    <Operators title={id} about={<Go to="/operator/projects">Projects</Go>} asOf={found.answer?.asOf} actions={<button type="button" onClick={() => { choose(id); go("/"); }}>Look at it as its members do</button>}>
      <Shown of={found} tall={420}>
        {(one) => (
          <div class="stack">
            <div class="figures">
              <Figure label="Plan" note={`catalogue ${one.catalogue}`}>{words(one.plan)}</Figure>
              <Figure label="Included" note={one.own.included === null ? "the plan's" : "its own"}>{units(one.included)}</Figure>
              <Figure label="Requests a minute" note={one.own.rpm === null ? "the plan's" : "its own"}>{units(one.rpm)}</Figure>
              <Figure label="Policy" note={`since ${date(one.created_at)}`}>{one.policy_version}</Figure>
            </div>
            <p><Go to={`/operator/projects/${one.id}/leases`}>Who has its units now: the map of its leases</Go></p>
            <div class="grid">
              <div class="half">
                <Card title="Limits">
                  <Form submit="Set" act={({ plan, included, rpm }) => change({ plan: plan as Project["plan"], included: own(included), rpm: own(rpm) })}>
                    <Field label="Plan"><select name="plan" defaultValue={one.plan}>{["community", "pro", "business", "enterprise"].map((plan) => <option key={plan} value={plan} selected={plan === one.plan}>{words(plan)}</option>)}</select></Field>
                    <Field label="Units a month" hint="empty: the plan's"><input name="included" type="number" min={0} defaultValue={one.own.included ?? ""} /></Field>
                    <Field label="Requests a minute" hint="empty: the plan's"><input name="rpm" type="number" min={1} max={1_000_000} defaultValue={one.own.rpm ?? ""} /></Field>
                  </Form>
                </Card>
              </div>
              <div class="half stack">
                <Card title="Give units">
                  <Form inline submit="Give" act={async ({ units: count, reason = "" }, form) => {
                    await settle(api.POST("/api/v1/admin/projects/{project}/credits", { params, body: { units: Number(count), reason } }));
                    form.reset();
                  }}>
                    <Field label="Units"><input name="units" type="number" min={1} required /></Field>
                    <Field label="Reason"><input name="reason" required maxLength={200} /></Field>
                  </Form>
                </Card>
                <Card title="Correct a bill">
                  <Form inline submit="Take off" act={async ({ period = "", units: count, reason = "" }, form) => {
                    await settle(api.POST("/api/v1/admin/projects/{project}/corrections", { params, body: { period, units: Number(count), reason } }));
                    form.reset();
                  }}>
                    <Field label="Month"><input name="period" type="month" required /></Field>
                    <Field label="Units"><input name="units" type="number" min={1} required /></Field>
                    <Field label="Reason"><input name="reason" required maxLength={200} /></Field>
                  </Form>
                </Card>
                <Card title={one.suspended ? "Suspended" : "Suspend"}>
                  <p class="soft">{one.suspended ? "Every request is denied." : "Every request would be denied within seconds."}</p>
                  <Do tone={one.suspended ? "" : "danger"} {...(one.suspended ? {} : { confirm: `Suspend ${one.id}? All its requests are denied within seconds.` })} act={() => change({ suspended: !one.suspended })}>{one.suspended ? "Open again" : "Suspend"}</Do>
                </Card>
              </div>
            </div>
          </div>
        )}
      </Shown>
    </Operators>
  );
}

export function Catalogue() {
  const offers = useResource(whyNot("operate") || !project.value ? "" : project.value, (signal) => settle(api.GET("/api/v1/billing/offers", { params: { query: { project: project.value } }, signal })));
  const price = (minor: number | null | undefined): string => (minor == null ? "by contract" : money({ minor, currency: offers.answer?.data.currency ?? "eur" }));
  return (
    <Operators title="Plan catalogue" about="The newest version, and what a draft of another would change. Drafts are applied by meter plans." asOf={offers.answer?.asOf}>
      {!project.value && <Empty title="There is no project yet." />}
      <Shown of={offers} lines={6}>
        {(data) => (
          <div class="stack">
            <Card title={`Version ${data.catalogue}: plans`}>
              <Table
                caption="Plans"
                rows={data.plans}
                name={(plan) => plan.plan}
                columns={[
                  { title: "Plan", cell: (plan) => <b>{words(plan.plan)}</b> },
                  { title: "Included", num: true, cell: (plan) => units(plan.included) },
                  { title: "A minute", num: true, cell: (plan) => units(plan.rpm) },
                  { title: "Agents", num: true, cell: (plan) => (plan.agents_max === null ? "any" : units(plan.agents_max)), wide: true },
                  { title: "Members", num: true, cell: (plan) => (plan.members_max === null ? "any" : units(plan.members_max)), wide: true },
                  { title: "A month", num: true, cell: (plan) => price(plan.price_month) },
                  { title: "A year", num: true, cell: (plan) => price(plan.price_year), wide: true },
                  { title: "Overage per 1,000", num: true, cell: (plan) => (plan.overage ? price(plan.overage_per_1000) : "stops") },
                ]}
              />
            </Card>
            <Card title="Packs">
              <Table
                caption="Packs"
                rows={data.packs}
                name={(pack) => pack.pack}
                columns={[
                  { title: "Pack", cell: (pack) => <b>{words(pack.pack)}</b> },
                  { title: "Units", num: true, cell: (pack) => units(pack.units) },
                  { title: "Price", num: true, cell: (pack) => price(pack.price) },
                ]}
              />
            </Card>
            <Draft />
          </div>
        )}
      </Shown>
    </Operators>
  );
}

export function ParkedPayments() {
  const parked = useResource(whyNot("operate") ? "" : "parked", (signal) => settle(api.GET("/api/v1/admin/stripe/parked", { signal })));
  return (
    <Operators title="Parked payments" about="What Stripe says and the books could not take by themselves" asOf={parked.answer?.asOf}>
      <Shown of={parked} tall={360}>
        {(data) => (
          <div class="stack">
            <div class="figures">
              <Figure label="Parked events" note="need a person">{units(data.parked)}</Figure>
              <Figure label="Waiting events" note="taken by themselves">{units(data.waiting)}</Figure>
              <Figure label="Drift between both books" note={data.drift ? `looked ${moment(data.drift.at)}` : "not looked yet"}>{data.drift ? units(data.drift.count) : "–"}</Figure>
            </div>
            {data.drift && data.drift.findings.length > 0 && <Card title="What differs"><ul class="stack">{data.drift.findings.map((finding) => <li key={finding}>{foreign(finding)}</li>)}</ul></Card>}
            <Card title="Events">
              <Table caption="Parked events" find="event" rows={data.events} name={(event) => event.id} empty={<Empty title="None is parked." />} columns={[
                { title: "Received", cell: (event) => <span class="nowrap">{moment(event.received)}</span> },
                { title: "Event", cell: (event) => <>{event.kind} <code>{event.id}</code>{event.object && <div class="soft small-text">about <code>{event.object}</code></div>}</> },
                { title: "Why", cell: (event) => foreign(event.note ?? "–") },
                { title: "What would apply", cell: (event) => <div class="would"><Would event={event.id} /></div> },
                { title: "Actions", cell: (event) => <Again name={event.id} done={parked.reload} /> },
              ]} />
            </Card>
            <Card title="Orders">
              <Table caption="Orders" find="order" rows={data.orders} name={(order) => order.id} empty={<Empty title="None." />} columns={[
                { title: "Order", cell: (order) => <code>{order.id}</code> },
                { title: "Project", cell: (order) => <Go to={`/operator/projects/${order.project}`}>{order.project}</Go> },
                { title: "What", cell: (order) => words(order.good) },
                { title: "Price", num: true, cell: (order) => money(order.price) },
                { title: "State", cell: (order) => <><Tag tone="warn">{words(order.state)}</Tag>{order.note && <div class="soft small-text">{foreign(order.note)}</div>}</> },
                { title: "Actions", cell: (order) => <Again name={order.id} done={parked.reload} /> },
              ]} />
            </Card>
            <Card title="Bills">
              <Table caption="Bills" find="bill" rows={data.bills} name={(bill) => `${bill.project} ${bill.period} ${bill.number}`} empty={<Empty title="None." />} columns={[
                { title: "Project", cell: (bill) => <Go to={`/operator/projects/${bill.project}`}>{bill.project}</Go> },
                { title: "Month", cell: (bill) => bill.period },
                { title: "Amount", num: true, cell: (bill) => money(bill.amount) },
                { title: "Step", cell: (bill) => <><Tag tone="warn">{words(bill.step)}</Tag>{bill.note && <div class="soft small-text">{foreign(bill.note)}</div>}</> },
              ]} />
            </Card>
          </div>
        )}
      </Shown>
    </Operators>
  );
}

/** What processing an event again would do: the very code does it, in books that are taken back. */
function Would({ event }: { event: string }) {
  const would = useResource(event, (signal) => settle(api.GET("/api/v1/admin/stripe/parked/{name}/dry-run", { params: { path: { name: event } }, signal })));
  return (
    <Shown of={would} lines={2}>
      {({ state, note, changes }) => (
        <>
          <Tag tone={STANDS[state]?.tone ?? "plain"}>{STANDS[state]?.what ?? words(state)}</Tag>
          {note && <div class="soft small-text">{foreign(note)}</div>}
          {changes.length === 0 ? <div class="soft small-text">Nothing would change.</div> : (
            <details>
              <summary>{counted(changes.map((change) => change.what))}</summary>
              <ul>{changes.map((change) => <li key={`${change.what} ${change.key}`}>{foreign(change.says)}</li>)}</ul>
            </details>
          )}
        </>
      )}
    </Shown>
  );
}

/** Where an event would stand after it is processed again. */
const STANDS: Record<string, { what: string; tone: "good" | "warn" | "bad" | "plain" }> = {
  applied: { what: "would apply", tone: "good" },
  ignored: { what: "would be ignored", tone: "plain" },
  parked: { what: "would stop again", tone: "bad" },
  pending: { what: "would wait for Stripe", tone: "warn" },
};

/** How many there are of each, in the order in which they first come. */
function counted(all: string[]): string {
  const each = new Map<string, number>();
  for (const one of all) each.set(one, (each.get(one) ?? 0) + 1);
  return [...each].map(([what, count]) => `${units(count)} × ${what}`).join(", ");
}

/** Has what waits for a person processed again; what comes of it is in this list, or it is gone from it. */
const Again = ({ name, done }: { name: string; done: () => void }) => (
  <Do done="begun" act={async () => { await settle(api.POST("/api/v1/admin/stripe/parked/{name}/retry", { params: { path: { name } } })); setTimeout(done, 1_500); }}>Try again</Do>
);

export function Quarantine() {
  const of = { path: { project: project.value } };
  const cells = useResource(whyNot("operate") || !project.value ? "" : project.value, (signal) => settle(api.GET("/api/v1/admin/projects/{project}/quarantine", { params: of, signal })));
  return (
    <Operators title="Quarantine" about={`Cells of ${project.value} that were not believed`} asOf={cells.answer?.asOf}>
      <Card title="Cells" aside={cells.answer && <span>{units(cells.answer.data.total)} in all</span>}>
        <Shown of={cells} lines={5}>
          {(data) => (
            <Table caption="Quarantined cells" find="find" rows={data.cells} name={(cell) => cell.id} empty={<Empty title="None." >What comes above a plausible rate or from the future is set aside here until a person decides.</Empty>} columns={[
              { title: "Seen", cell: (cell) => <span class="nowrap">{moment(cell.first_seen_at)}</span> },
              { title: "Day", cell: (cell) => <span class="nowrap">{cell.day}</span>, by: (cell) => cell.day },
              { title: "Agent", cell: (cell) => agentName(cell.agent), by: (cell) => cell.agent },
              { title: "Units", num: true, cell: (cell) => units(cell.units), by: (cell) => cell.units },
              { title: "Why", cell: (cell) => <Tag tone="warn">{words(cell.reason)}</Tag> },
              { title: "Actions", cell: (cell) => {
                const params = { path: { ...of.path, name: cell.id } };
                return (
                  <span class="row">
                    <Do confirm="Count and bill this cell?" act={async () => { await settle(api.POST("/api/v1/admin/projects/{project}/quarantine/{name}/accept", { params })); cells.reload(); }}>Accept</Do>
                    <Do tone="danger" confirm="Drop this cell? It is never billed." act={async () => { await settle(api.DELETE("/api/v1/admin/projects/{project}/quarantine/{name}", { params })); cells.reload(); }}>Drop</Do>
                  </span>
                );
              } },
            ]} />
          )}
        </Shown>
      </Card>
    </Operators>
  );
}

type AccountView = Schemas["AccountView"];

export function Accounts() {
  const accounts = useResource(whyNot("operate") ? "" : "accounts", (signal) => settle(api.GET("/api/v1/admin/accounts", { signal })));
  const [link, show] = useState<{ what: string; text: string; until: string } | null>(null);
  const [problem, tell] = useState<Problem | null>(null);
  const [erased, gone] = useState<Erased | null>(null);
  const sought = query.value.get("find") ?? "";
  const linkFor = async (account: AccountView): Promise<void> => {
    try {
      const { data } = await settle(api.POST("/api/v1/admin/accounts/{name}/links", { params: { path: { name: account.id } } }));
      show({ what: `A link that signs ${account.email} in once`, text: `${location.origin}/#link=${data.token}`, until: data.expires_at });
    } catch (error) {
      tell(problemOf(error));
    }
  };
  return (
    <Operators title="Accounts" about="People who may sign in" asOf={accounts.answer?.asOf}>
      <When of={[accounts]}>
        {link && <Secret what={link.what} text={link.text}><p class="soft small-text">It works once, until {moment(link.until)}.</p></Secret>}
        {problem && <Trouble problem={problem} />}
        {erased && <ErasedNotice erased={erased} />}
        <Card title="All accounts" aside={<input type="search" aria-label="Find an account" placeholder="Find by e-mail or name" value={sought} onInput={(event) => setQuery({ find: event.currentTarget.value }, { replace: true })} />}>
          <Shown of={accounts} lines={4}>
            {(data) => (
              <Table caption="Accounts" rows={data.accounts.filter((one) => `${one.email} ${one.name}`.toLowerCase().includes(sought.toLowerCase()))} name={(account) => account.id} empty={<Empty title={sought ? "No account has that in its e-mail or name." : "None yet."} />} columns={[
                { title: "E-mail", cell: (account) => foreign(account.email), by: (account) => account.email },
                { title: "Name", cell: (account) => foreign(account.name), wide: true },
                { title: "What", cell: (account) => (account.operator ? <Tag tone="accent">operator</Tag> : <Tag>member</Tag>) },
                { title: "Since", cell: (account) => date(account.created_at), by: (account) => account.created_at, wide: true },
                { title: "Actions", cell: (account) => (
                  <span class="row">
                    {account.disabled_at ? <Tag>{`disabled ${date(account.disabled_at)}`}</Tag> : (
                      <>
                        <Do act={() => linkFor(account)}>Link to sign in</Do>
                        <Do tone="danger" confirm={`Disable ${account.email}? Their sessions end at once.`} act={async () => { await settle(api.DELETE("/api/v1/admin/accounts/{name}", { params: { path: { name: account.id } } })); accounts.reload(); }}>Disable</Do>
                      </>
                    )}
                    <Erase account={account} done={(of) => { gone(of); accounts.reload(); }} />
                  </span>
                ) },
              ]} />
            )}
          </Shown>
        </Card>
        <Card title="New account">
          <Form submit="Make account" act={async ({ email = "", name = "", role, of = "" }, form) => {
            const body = role === "operator" ? { email, name, operator: true } : { email, name, operator: false, ...(of ? { project: of, role: role as Schemas["Role"] } : {}) };
            const { data } = await settle(api.POST("/api/v1/admin/accounts", { body }));
            form.reset();
            accounts.reload();
            await linkFor(data);
          }}>
            <div class="grid">
              <div class="half"><Field label="E-mail"><input name="email" type="email" required /></Field></div>
              <div class="half"><Field label="Name"><input name="name" required maxLength={120} /></Field></div>
              <div class="half"><Field label="As"><select name="role">{["owner", "admin", "finance", "viewer", "operator"].map((role) => <option key={role} value={role}>{words(role)}</option>)}</select></Field></div>
              <div class="half"><Field label="Of the project" hint="not for operators"><input name="of" defaultValue={project.value} /></Field></div>
            </div>
          </Form>
        </Card>
      </When>
    </Operators>
  );
}
