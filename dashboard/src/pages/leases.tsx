// The live map of a project's leases: who has what of its units, down to each isolate. It asks again every few seconds;
// what the homes do not tell is said to be unknown.
import { useEffect } from "preact/hooks";
import { api, type Schemas, settle } from "../api";
import { ago, month, percent, units, words } from "../format";
import { useResource } from "../resource";
import { path } from "../router";
import { whyNot } from "../session";
import { Bars } from "../ui/bars";
import { Card, Empty, Figure, Go, Notice, Shown, Tag } from "../ui/parts";
import { Table } from "../ui/table";
import { Operators } from "./operator";

type Mode = Schemas["LeaseMap"]["modes"][number];
type HomeOf = NonNullable<Mode["home"]>;
type Held = HomeOf["holders"]["told"][number];

const AGAIN_MS = 3_000;

interface Line extends Held {
  name: string;
  of: string;
  stock: number | null;
}

/** The holders of a home, and below each sub-home its isolates. */
function lines({ home, sub_homes }: Mode): Line[] {
  const found: Line[] = [];
  for (const held of home?.holders.told ?? []) {
    const sub = sub_homes.find((one) => one.holder === held.holder);
    found.push({ ...held, name: sub ? sub.name : held.holder.slice(0, 8), of: "home", stock: sub?.stock ?? null });
    for (const isolate of sub?.holders.told ?? []) {
      found.push({ ...isolate, name: isolate.holder.slice(0, 8), of: sub?.name ?? "", stock: null });
    }
  }
  return found;
}

export function LeaseMapPage() {
  const id = path.value.split("/").at(-2) ?? "";
  const params = { path: { project: decodeURIComponent(id) } };
  const map = useResource(whyNot("operate") ? "" : id, (signal) =>
    settle(api.GET("/api/v1/admin/projects/{project}/leases", { params, signal })));
  const { reload, loading } = map;
  useEffect(() => {
    if (loading) return;
    const timer = setTimeout(reload, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [loading, map.answer, map.problem]);
  const told = map.answer?.data;
  const at = told && (told.unreachable === null ? told.modes.find((one) => one.home)?.home?.as_of ?? told.as_of : told.as_of);
  return (
    <Operators title={`Leases of ${params.path.project}`} about={<Go to={`/operator/projects/${id}`}>{params.path.project}</Go>} asOf={at}>
      <Shown of={map} tall={560}>
        {(data) => (
          <div class="stack">
            {data.unreachable !== null && (
              <Notice tone="bad" title="The homes cannot be asked">
                <p>{data.unreachable}. Nobody knows here who has what now; below is what the books have. This page asks again every {AGAIN_MS / 1000} seconds.</p>
              </Notice>
            )}
            {data.modes.filter((mode) => mode.mode === "live" || (mode.home?.issued ?? 0) > 0 || mode.denied.total > 0).map((mode) => <OneHome key={mode.mode} mode={mode} period={data.period} known={data.unreachable === null} />)}
          </div>
        )}
      </Shown>
    </Operators>
  );
}

function OneHome({ mode, period, known }: { mode: Mode; period: string; known: boolean }) {
  const { home } = mode;
  return (
    <>
      <div class="figures">
        {home && <Figure name={`overshoot-${mode.mode}`} label="Overshoot" note={home.limit === null ? "there is no limit to pass: overage is on" : "served or out, beyond the limit"}>{home.overshoot === null ? "–" : units(home.overshoot)}</Figure>}
        <Figure name={`wrong-${mode.mode}`} label="Wrong denials" note={wrongNote(mode)}>{mode.wrong_denials.unproven === 0 ? units(mode.wrong_denials.known) : "not known"}</Figure>
        <Figure label="Left now" note="of the limit, with nobody">{left(home)}</Figure>
      </div>
      {home === null ? known && <Empty title={`Nothing was asked of the home of ${mode.mode} keys yet.`} /> : <Books home={home} mode={mode} />}
      {mode.denied.total > 0 && (
        <Card title={`Refused in ${month(period)}, ${mode.mode} keys`} aside={<span>{units(mode.denied.total)} in all</span>}>
          <Bars bars={Object.entries(mode.denied.reasons).filter(([, count]) => count > 0).map(([reason, count]) => ({ name: words(reason), count, to: `/why?reason=${reason}` }))} />
        </Card>
      )}
    </>
  );
}

const left = (home: HomeOf | null): string => (home === null ? "not known" : home.left === null ? "no limit" : units(home.left));

function wrongNote({ wrong_denials: { known, unproven } }: Mode): string {
  const told = known === 0 ? "none was told to come again" : `${units(known)} told to come again while units may have been left`;
  return unproven === 0 ? told : `${told}; of ${units(unproven)} refused for a limit nobody can prove the moment`;
}

function Books({ home, mode }: { home: HomeOf; mode: Mode }) {
  const held = lines(mode);
  const { holders } = home;
  return (
    <>
      <div class="figures">
        <Figure name={`settled-${mode.mode}`} label="Settled" note="reported as served">{units(home.settled)}</Figure>
        <Figure name={`out-${mode.mode}`} label="Out" note={`${units(home.answering)} more are being answered`}>{units(home.out)}</Figure>
        <Figure name={`stranded-${mode.mode}`} label="Stranded" note="out with who was not heard for 10 s">{units(home.stranded)}</Figure>
      </div>
      <Card title={`${month(home.period)}, ${mode.mode} keys`} aside={<span>{home.limit === null ? "no limit" : <>limit <b>{units(home.limit)}</b></>}</span>}>
        <Places home={home} />
      </Card>
      <Card title="Who has units" aside={mode.silent_sub_homes > 0 ? <Tag tone="warn">{units(mode.silent_sub_homes)} sub-homes did not answer</Tag> : undefined}>
        <Table
          caption={`Holders of ${mode.mode} keys`}
          find={`${mode.mode}-holder`}
          rows={held}
          name={(line) => `${line.of} ${line.holder}`}
          empty={<Empty title="Nobody has any.">What was issued is served, or came back.</Empty>}
          columns={[
            { title: "Holder", cell: (line) => <code title={line.holder}>{line.name}</code> },
            { title: "Of", cell: (line) => line.of, wide: true },
            { title: "Out", num: true, cell: (line) => units(line.out), by: (line) => line.out },
            { title: "Answering", num: true, cell: (line) => units(line.answering), wide: true },
            { title: "In stock", num: true, cell: (line) => (line.stock === null ? "" : units(line.stock)), wide: true },
            { title: "Heard", cell: (line) => (line.silent_ms === null ? "not since it was restarted" : `${ago(line.silent_ms)} ago`), by: (line) => line.silent_ms ?? Number.MAX_SAFE_INTEGER, csv: (line) => (line.silent_ms === null ? "" : `${ago(line.silent_ms)} ago`) },
            { title: "State", cell: (line) => (line.live ? <Tag tone="good">lives</Tag> : <Tag tone="bad">dead</Tag>) },
          ]}
        />
        {(holders.more > 0 || holders.gone > 0) && (
          <p class="soft">
            {holders.more > 0 && <>{units(holders.more)} more have {units(holders.more_out)}. </>}
            {holders.gone > 0 && <>Nothing with, and not heard lately: {units(holders.gone)}.</>}
          </p>
        )}
      </Card>
    </>
  );
}

/** Where the month's units are, as one bar; without a limit it ends with what was issued. */
function Places({ home }: { home: HomeOf }) {
  const places = [
    { name: "Settled", css: "in", units: home.settled + home.answering },
    { name: "Out, living", css: "lot", units: home.out - home.stranded },
    { name: "Stranded", css: "over", units: home.stranded },
    { name: "Void", css: "over", units: home.void },
    { name: "Left", css: "left", units: home.left ?? 0 },
  ].filter((place) => place.units > 0 || place.name === "Settled");
  const all = Math.max(1, places.reduce((sum, place) => sum + place.units, 0));
  return (
    <>
      <div class="waterfall" role="img" aria-label={places.map((place) => `${place.name}: ${units(place.units)}`).join("; ")}>
        {places.map((place) => (
          <span key={place.name} class={place.css} style={{ width: `${(place.units * 100) / all}%` }} title={place.name}>
            <i style={{ width: place.css === "left" ? "0%" : "100%" }} />
          </span>
        ))}
      </div>
      <div class="legend">
        {places.map((place) => (
          <span key={place.name}><span class={`swatch ${place.css}`} />{place.name} <b>{units(place.units)}</b> ({percent(place.units, all)} %)</span>
        ))}
        {home.escrow !== null && <span>Not acknowledged <b>{units(home.unacknowledged)}</b> of {units(home.escrow)}</span>}
      </div>
    </>
  );
}
