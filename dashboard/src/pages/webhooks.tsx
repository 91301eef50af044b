// Webhooks: where events are told, what became of each delivery, and whether a signature fits.
import { useState } from "preact/hooks";
import { api, type Schemas, settle } from "../api";
import { ago, date, foreign, moment, units, words } from "../format";
import { useResource } from "../resource";
import { path, query, setQuery } from "../router";
import { lastWord } from "../routes";
import { project, whyNot } from "../session";
import { Signatures } from "../ui/signatures";
import { AsOf, Card, Copy, Do, Empty, Field, Form, Go, Notice, Page, Secret, Shown, Tag, When } from "../ui/parts";
import { Table } from "../ui/table";

type Webhook = Schemas["WebhookView"];
type Delivery = Schemas["DeliveryView"];

const EVENTS = ["usage.threshold_reached", "quota.exhausted", "usage.source_changed", "topup.credited", "topup.failed", "plan.changed", "period.closed", "key.revoked", "invoice.ready", "webhook.disabled"];

export function Webhooks() {
  const why = whyNot("webhooks");
  const of = { project: project.value };
  const hooks = useResource(why ? "" : project.value, (signal) => settle(api.GET("/api/v1/webhooks", { params: { query: of }, signal })));
  const [secret, show] = useState<{ what: string; text: string } | null>(null);
  if (why) return <Page title="Webhooks"><Empty title="Webhooks are not shown to you.">{why}</Empty></Page>;
  const make = async ({ url = "", events, description, format }: Record<string, string>, form: HTMLFormElement): Promise<void> => {
    const body = { url, ...(events ? { events: [events] } : {}), ...(description ? { description } : {}), format: format as "standard" };
    const { data } = await settle(api.POST("/api/v1/webhooks", { params: { query: of }, body }));
    show({ what: `The secret of ${foreign(data.url)}`, text: data.secret });
    form.reset();
    hooks.reload();
  };
  return (
    <Page title="Webhooks" about="Signed as Standard Webhooks says, and tried for a day and more" asOf={<AsOf at={hooks.answer?.asOf} />}>
      <When of={[hooks]}>
        {secret && <Secret what={secret.what} text={secret.text} />}
        <Card title="Endpoints">
          <Shown of={hooks} lines={4}>
            {(data) => (
              <Table
                caption="Endpoints"
                find="find"
                rows={data.webhooks}
                name={(hook) => hook.id}
                empty={<Empty title="No endpoint yet.">Events of this project are told to those you make below.</Empty>}
                columns={[
                  { title: "Endpoint", cell: (hook) => <div class="lead long"><Go to={`/webhooks/${hook.id}`}>{foreign(hook.url)}</Go>{hook.description && <div class="soft small-text">{foreign(hook.description)}</div>}</div> },
                  { title: "Events", cell: (hook) => (hook.events.includes("*") || hook.events.length === 0 ? "all" : hook.events.join(", ")), wide: true },
                  { title: "State", cell: (hook) => <HookState of={hook} /> },
                  { title: "Since", cell: (hook) => date(hook.created_at), wide: true },
                ]}
              />
            )}
          </Shown>
        </Card>
        <Card title="New endpoint">
          <Form submit="Make endpoint" act={make}>
            <div class="grid">
              <div class="half"><Field label="URL" hint="https, reached from the Internet"><input name="url" type="url" required placeholder="https://example.com/hooks" /></Field></div>
              <div class="half"><Field label="Events"><select name="events"><option value="">all events</option>{EVENTS.map((name) => <option key={name}>{name}</option>)}</select></Field></div>
              <div class="half"><Field label="What it is for"><input name="description" maxLength={200} /></Field></div>
              <div class="half"><Field label="Format"><select name="format"><option value="standard">standard: JSON, signed</option><option value="slack">slack: a sentence</option></select></Field></div>
            </div>
          </Form>
        </Card>
        <Signatures />
      </When>
    </Page>
  );
}

function HookState({ of: hook }: { of: Webhook }) {
  if (hook.disabled_at) return <Tag tone="bad">{`disabled: ${words(hook.disabled_reason ?? "by_hand").toLowerCase()}`}</Tag>;
  if (hook.failing_since) return <Tag tone="warn">{`failing since ${moment(hook.failing_since)}`}</Tag>;
  return <Tag tone="good">well</Tag>;
}

export function Endpoint() {
  const id = lastWord(path.value);
  const of = { path: { webhook: id }, query: { project: project.value } };
  const hook = useResource(`${project.value} ${id}`, (signal) => settle(api.GET("/api/v1/webhooks/{webhook}", { params: of, signal })));
  const before = query.value.get("before");
  const log = useResource(`${project.value} ${id} ${before}`, (signal) =>
    settle(api.GET("/api/v1/webhooks/{webhook}/deliveries", { params: { ...of, query: { ...of.query, ...(before ? { before: Number(before) } : {}) } }, signal })));
  const [secret, show] = useState<string>("");
  const why = whyNot("webhooks");
  const open = query.value.get("delivery") ?? "";
  return (
    <Page title="Endpoint" about={<><Go to="/webhooks">Webhooks</Go> / {foreign(hook.answer?.data.url ?? id)}</>} asOf={<AsOf at={log.answer?.asOf} />} actions={
      <>
        <Do why={why} done="sent" act={async () => { await settle(api.POST("/api/v1/webhooks/{webhook}/test", { params: of })); setTimeout(log.reload, 800); }}>Send a test</Do>
        <button type="button" onClick={log.reload}>Reload</button>
      </>
    }>
      <When of={[hook, log]}>
        {secret && <Secret what="The new secret" text={secret}><p class="soft small-text">The one before signs too, for a day.</p></Secret>}
        {open && <Detail id={id} delivery={open} done={log.reload} />}
        <Card title="Deliveries" aside={<span>the newest first</span>}>
          <Shown of={log} lines={8}>
            {(data) => (
              <>
                <Table
                  caption="Deliveries"
                  find="find"
                  rows={data.deliveries}
                  name={(delivery) => delivery.id}
                  empty={<Empty title="Nothing was delivered yet.">Send a test to see one.</Empty>}
                  columns={[
                    { title: "When", cell: (delivery) => <span class="nowrap">{moment(delivery.timestamp)}</span>, by: (delivery) => delivery.timestamp },
                    { title: "Event", cell: (delivery) => delivery.type, by: (delivery) => delivery.type },
                    { title: "State", cell: (delivery) => <DeliveryState of={delivery} /> },
                    { title: "Answer", cell: (delivery) => answerOf(delivery), wide: true },
                    { title: "Attempts", num: true, cell: (delivery) => units(delivery.attempts), wide: true },
                    { title: "Actions", cell: (delivery) => (
                      <span class="row">
                        <button type="button" class="small" onClick={() => setQuery({ delivery: delivery.id })}>Look</button>
                        <Do why={why} done="begun" act={async () => { await settle(api.POST("/api/v1/webhooks/{webhook}/deliveries/{delivery}/replay", { params: { ...of, path: { webhook: id, delivery: delivery.id } } })); setTimeout(log.reload, 800); }}>Replay</Do>
                      </span>
                    ) },
                  ]}
                />
                <p class="row">
                  {before && <button type="button" onClick={() => setQuery({ before: null })}>Newest</button>}
                  {data.next && <button type="button" onClick={() => setQuery({ before: String(data.next) })}>Older</button>}
                </p>
              </>
            )}
          </Shown>
        </Card>
        <Shown of={hook} lines={5}>{(data) => <Settings hook={data} changed={hook.reload} show={show} replayed={log.reload} />}</Shown>
      </When>
    </Page>
  );
}

const TONES: Record<string, "good" | "warn" | "bad" | "plain"> = { delivered: "good", pending: "warn", failed: "bad", waiting: "warn" };
const DeliveryState = ({ of: { state, next_attempt_at } }: { of: Delivery }) => (
  <><Tag tone={TONES[state] ?? "plain"}>{words(state)}</Tag>{next_attempt_at && <div class="soft small-text">next {moment(next_attempt_at)}</div>}</>
);

function answerOf({ last_attempt: attempt }: Delivery): string {
  if (!attempt) return "not tried yet";
  return `${attempt.status ?? words(attempt.outcome)} in ${ago(attempt.duration_ms)}`;
}

function Detail({ id, delivery, done }: { id: string; delivery: string; done: () => void }) {
  const params = { path: { webhook: id, delivery }, query: { project: project.value } };
  const found = useResource(`${id} ${delivery}`, (signal) => settle(api.GET("/api/v1/webhooks/{webhook}/deliveries/{delivery}", { params, signal })));
  return (
    <Card title="One delivery" aside={<button type="button" class="small" onClick={() => setQuery({ delivery: null })}>Close</button>}>
      <Shown of={found} lines={8}>
        {(data) => {
          const body = JSON.stringify(data.request.body, null, 2);
          return (
            <div class="grid">
              <div class="half">
                <h3>Request</h3>
                <pre tabIndex={0} aria-label="Request">{`${data.request.method} ${foreign(data.request.url)}\n${Object.entries(data.request.headers).map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n${foreign(body)}`}</pre>
                <p class="row"><Copy text={JSON.stringify(data.request.body)} label="Copy body" /><Do why={whyNot("webhooks")} done="begun" act={async () => { await settle(api.POST("/api/v1/webhooks/{webhook}/deliveries/{delivery}/replay", { params })); setTimeout(() => { found.reload(); done(); }, 800); }}>Replay</Do></p>
              </div>
              <div class="half">
                <h3>Attempts</h3>
                {data.log.length === 0 ? <p class="soft">Not tried yet.</p> : (
                  <ul class="stack">
                    {data.log.map((attempt) => (
                      <li key={attempt.number}>
                        <div class="row between"><span>{attempt.number}. <Tag tone={attempt.status !== null && attempt.status < 300 ? "good" : "bad"}>{attempt.status ?? words(attempt.outcome)}</Tag> in {ago(attempt.duration_ms)}</span><span class="soft small-text">{moment(attempt.at)}</span></div>
                        {attempt.detail && <p class="soft small-text">{foreign(attempt.detail)}</p>}
                        {attempt.response && <pre tabIndex={0} aria-label="Answer">{foreign(attempt.response)}</pre>}
                      </li>
                    ))}
                  </ul>
                )}
                {data.next_attempt_at && <p class="soft">Tried again {moment(data.next_attempt_at)}.</p>}
              </div>
            </div>
          );
        }}
      </Shown>
    </Card>
  );
}

function Settings({ hook, changed, show, replayed }: { hook: Webhook; changed: () => void; show: (secret: string) => void; replayed: () => void }) {
  const params = { path: { webhook: hook.id }, query: { project: project.value } };
  const why = whyNot("webhooks");
  const [said, say] = useState("");
  return (
    <div class="grid">
      <div class="half">
        <Card title="Endpoint" aside={<HookState of={hook} />}>
          <dl class="facts">
            <dt>URL</dt><dd>{foreign(hook.url)}</dd>
            <dt>Events</dt><dd>{hook.events.length === 0 || hook.events.includes("*") ? "all" : hook.events.join(", ")}</dd>
            <dt>Format</dt><dd>{hook.format}</dd>
            <dt>Since</dt><dd>{moment(hook.created_at)}</dd>
          </dl>
          <p class="row">
            <Do why={why} act={async () => { await settle(api.PATCH("/api/v1/webhooks/{webhook}", { params, body: { disabled: hook.disabled_at === null } })); changed(); }}>{hook.disabled_at ? "Turn on" : "Turn off"}</Do>
            <Do why={why} confirm="Make a new secret? The one before signs too, for a day." act={async () => { show((await settle(api.POST("/api/v1/webhooks/{webhook}/rotate", { params }))).data.secret); changed(); }}>Rotate secret</Do>
            <Do why={why} tone="danger" confirm="Delete this endpoint and its log?" act={async () => { await settle(api.DELETE("/api/v1/webhooks/{webhook}", { params })); location.assign("/webhooks"); }}>Delete</Do>
          </p>
        </Card>
      </div>
      <div class="half">
        <Card title="Replay what it lacks">
          <Form inline submit="Replay" tone="" why={why} act={async ({ since = "" }) => {
            const { data } = await settle(api.POST("/api/v1/webhooks/{webhook}/replay", { params, body: { since } }));
            say(`${units(data.replayed)} deliveries were begun anew.`);
            setTimeout(replayed, 800);
          }}>
            <Field label="Since (UTC)" hint="what did not arrive since then, and what it was never told"><input name="since" type="date" required /></Field>
          </Form>
          {said && <Notice tone="good">{said}</Notice>}
        </Card>
      </div>
    </div>
  );
}
