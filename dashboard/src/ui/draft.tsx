// A draft of the plan catalogue: what it changes, and what months that are over would have cost under it.
import { useState } from "preact/hooks";
import { api, type Schemas, settle } from "../api";
import { money, month, units, words } from "../format";
import { Card, Empty, Field, Figure, Form, Go, Notice } from "./parts";
import { Table } from "./table";

type Came = Schemas["PlansWhatIf"];
type Project = Came["projects"][number];

/** What the field or the chosen file holds, as JSON; the server says what is wrong with it beyond that. */
function read(text: string): Record<string, never> {
  let draft: unknown;
  try {
    draft = JSON.parse(text);
  } catch (error) {
    throw new Error(`The draft is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof draft !== "object" || draft === null || Array.isArray(draft)) throw new Error("The draft is no catalogue: it has to be a JSON object.");
  return draft as Record<string, never>;
}

export function Draft() {
  const [text, set] = useState("");
  const [came, put] = useState<Came | null>(null);
  const ask = async ({ months = "3" }: Record<string, string>): Promise<void> => {
    const body = { catalogue: read(text), months: Number(months) };
    put((await settle(api.POST("/api/v1/admin/plans/what-if", { body }))).data);
  };
  const take = async (input: HTMLInputElement): Promise<void> => {
    const file = input.files?.[0];
    if (file) set(await file.text());
  };
  return (
    <>
      <Card title="Try a draft">
        <p class="soft">A catalogue as <code>meter plans apply</code> reads it. You see what it changes, and what months that are closed would have cost under it. Nothing is changed by asking.</p>
        <Form submit="Compare" act={ask}>
          <Field label="A file"><input type="file" accept=".json,application/json" onChange={(event) => void take(event.currentTarget)} /></Field>
          <Field label="Or its text"><textarea class="code" rows={8} spellcheck={false} value={text} placeholder={'{ "version": 2, "currency": "eur", "plans": { … } }'} required onInput={(event) => set(event.currentTarget.value)} /></Field>
          <Field label="Months"><select name="months">{[1, 3, 6, 12, 25].map((count) => <option key={count} value={count} selected={count === 3}>{count === 1 ? "the last one" : `the last ${count}`}</option>)}</select></Field>
        </Form>
      </Card>
      {came && <Comparison came={came} />}
    </>
  );
}

const counted = (months: number): string => `${units(months)} ${months === 1 ? "month" : "months"}`;

const signed = (amount: { minor: string | number; currency: string }): string => (String(amount.minor).startsWith("-") || String(amount.minor) === "0" ? money(amount) : `+${money(amount)}`);

function Comparison({ came }: { came: Came }) {
  const { total } = came;
  const said = came.months.length > 0 ? `${month(came.months[0] ?? "")} to ${month(came.months.at(-1) ?? "")}` : "";
  return (
    <>
      <div class="figures" data-name="draft-totals">
        <Figure name="before" label="It was" note={said}>{money(total.before)}</Figure>
        <Figure name="after" label="It would have been" note={`${units(total.projects)} ${total.projects === 1 ? "project" : "projects"}`}>{money(total.after)}</Figure>
        <Figure name="change" label="Change" note="subscriptions by the month, overage, anchors">{signed(total.change)}</Figure>
        <Figure name="refused" label="Served, and would be refused" note="units">{units(total.refused)}</Figure>
      </div>
      <Card title={`Version ${came.from} → ${came.to}: what differs`}>
        <Table caption="Differences" rows={came.differences} name={(one) => one.field} empty={<Empty title="Nothing differs but the version." />} columns={[
          { title: "Field", cell: (one) => <code>{one.field}</code> },
          { title: "Now", num: true, cell: (one) => JSON.stringify(one.from) },
          { title: "Draft", num: true, cell: (one) => <b>{JSON.stringify(one.to)}</b> },
        ]} />
      </Card>
      <Card title="Projects that change most">
        <div class="stack">
          <Table<Project> caption="Projects under the draft" rows={came.projects} name={(one) => one.project} empty={<Empty title="No month of these is closed yet." />} columns={[
            { title: "Project", cell: (one) => <Go to={`/operator/projects/${one.project}`}>{one.project}</Go>, by: (one) => one.project },
            { title: "Plan", cell: (one) => words(one.months.at(-1)?.plan ?? "") },
            { title: "Months", num: true, cell: (one) => one.months.length, wide: true },
            { title: "It was", num: true, cell: (one) => money(one.before), by: (one) => Number(one.before.minor), csv: (one) => money(one.before), wide: true },
            { title: "Would be", num: true, cell: (one) => money(one.after), by: (one) => Number(one.after.minor), csv: (one) => money(one.after) },
            { title: "Change", num: true, cell: (one) => signed(one.change), by: (one) => Number(one.change.minor), csv: (one) => signed(one.change) },
            { title: "From lots", num: true, cell: (one) => (one.more_from_lots > 0 ? `+${units(one.more_from_lots)}` : units(one.more_from_lots)), wide: true },
            { title: "Refused", num: true, cell: (one) => units(one.refused), by: (one) => one.refused },
          ]} foot={
            <>
              {came.others.projects > 0 && <Sum title={`${units(came.others.projects)} others`} of={came.others} />}
              <Sum title="All together" of={total} />
            </>
          } />
          {(came.contracted > 0 || came.left_out > 0) && (
            <Notice>
              {came.contracted > 0 && <p>Left out: {counted(came.contracted)} under a contract, which no catalogue changes.</p>}
              {came.left_out > 0 && <p>Left out: {counted(came.left_out)} not closed yet, or not to be rated.</p>}
            </Notice>
          )}
        </div>
      </Card>
    </>
  );
}

const Sum = ({ title, of }: { title: string; of: Came["total"] }) => (
  <tr>
    <th scope="row">{title}</th><td /><td class="wide-only" />
    <td class="num wide-only">{money(of.before)}</td><td class="num">{money(of.after)}</td><td class="num">{signed(of.change)}</td>
    <td class="num wide-only">{units(of.more_from_lots)}</td><td class="num">{units(of.refused)}</td>
  </tr>
);
