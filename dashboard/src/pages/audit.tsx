// The audit log: who changed what, the newest first.
import { useEffect, useState } from "preact/hooks";
import { api, type Problem, problemOf, type Schemas, settle } from "../api";
import { foreign, moment, words } from "../format";
import { query, setQuery } from "../router";
import { project, whyNot } from "../session";
import { AsOf, Card, Empty, Field, Page, Skeleton, Trouble } from "../ui/parts";
import { Table } from "../ui/table";

type Entry = Schemas["AuditView"];

export function Audit() {
  const why = whyNot("audit");
  const [entries, set] = useState<Entry[] | null>(null);
  const [next, setNext] = useState<number | null>(null);
  const [asOf, setAsOf] = useState("");
  const [problem, tell] = useState<Problem | null>(null);
  const more = async (before: number | null): Promise<void> => {
    try {
      const answer = await settle(api.GET("/api/v1/admin/audit", { params: { query: { project: project.value, ...(before ? { before } : {}) } } }));
      set((known) => [...(before ? (known ?? []) : []), ...answer.data.entries]);
      setNext(answer.data.next);
      setAsOf(answer.asOf);
      tell(null);
    } catch (error) {
      tell(problemOf(error));
    }
  };
  useEffect(() => {
    if (!why) void more(null);
  }, [project.value, why]);
  if (why) return <Page title="Audit log"><Empty title="The audit log is not shown to you.">{why}</Empty></Page>;
  const sought = (query.value.get("find") ?? "").toLowerCase();
  const rows = (entries ?? []).filter((entry) => !sought || JSON.stringify(entry).toLowerCase().includes(sought));
  return (
    <Page title="Audit log" about="Who changed what; nothing in it can be changed" asOf={<AsOf at={asOf || null} />}>
      {problem && <Trouble problem={problem} again={() => void more(null)} />}
      <Card title="Changes" aside={<Field label={<span class="unseen">Find in what is shown</span>}><input type="search" placeholder="Find in what is shown" value={sought} onInput={(event) => setQuery({ find: event.currentTarget.value }, { replace: true })} /></Field>}>
        {entries === null ? !problem && <Skeleton lines={8} tall={360} /> : (
          <Table
            caption="Changes, the newest first"
            rows={rows}
            name={(entry) => entry.number}
            empty={<Empty title={sought ? "Nothing that is shown has that in it." : "Nothing was changed yet."} />}
            columns={[
              { title: "When", cell: (entry) => <span class="nowrap">{moment(entry.at)}</span> },
              { title: "Who", cell: (entry) => <>{foreign(entry.actor.name)} <span class="soft">{entry.actor.role === entry.actor.kind ? entry.actor.role : `${entry.actor.kind}, ${entry.actor.role}`}</span></> },
              { title: "What", cell: (entry) => <><strong>{words(entry.action)}</strong> <code>{foreign(entry.target_person ?? entry.target)}</code></> },
              { title: "Change", cell: (entry) => <Difference was={entry.was} became={entry.became} /> },
            ]}
          />
        )}
        {next !== null && <p><button type="button" onClick={() => void more(next)}>Show older</button></p>}
      </Card>
    </Page>
  );
}

/** Only the fields that differ; values that are no objects as they are. */
export function Difference({ was, became }: { was: unknown; became: unknown }) {
  const rows = differences(was, became);
  if (rows.length === 0) return <span class="soft">–</span>;
  return (
    <details>
      <summary>{rows.length === 1 ? "1 field" : `${rows.length} fields`}</summary>
      <ul>{rows.map(([field, from, to]) => <li key={field}>{field && <b>{field}: </b>}<code>{foreign(from)}</code> → <code>{foreign(to)}</code></li>)}</ul>
    </details>
  );
}

function differences(was: unknown, became: unknown): [string, string, string][] {
  const fields = (value: unknown): Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : value == null ? {} : { "": value };
  const [old, now] = [fields(was), fields(became)];
  const write = (value: unknown): string => (value === undefined ? "nothing" : typeof value === "string" ? value : JSON.stringify(value));
  return [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((field) => JSON.stringify(old[field]) !== JSON.stringify(now[field]))
    .map((field) => [field, write(old[field]), write(now[field])]);
}
