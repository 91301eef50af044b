// The month as one bar: what is included, then lots, the oldest first, then overage; each as far as it is used.
import { date, percent, units } from "../format";
import type { Part } from "../overview";
import { Tag } from "./parts";

/** What a lot's part is called; those that are told as one are the later ones only where one of them is told by itself. */
const lots = (part: Part, parts: Part[]): string => (part.lot ? `Lot ${part.lot}` : parts.some((other) => other.lot) ? "Later lots" : "Lots");
const css = (part: Part): string => (part.source === "included" ? "in" : part.source === "lot" ? "lot" : "over");

export function Waterfall({ parts, used }: { parts: Part[]; used: number }) {
  // Overage without a cap has no end: it is drawn as what was used of it, or a tenth of the rest.
  const known = parts.reduce((sum, part) => sum + (part.units ?? 0), 0);
  const width = (part: Part): number => part.units ?? Math.max(part.used, Math.ceil(known / 10), 1);
  const drawn = parts.filter((part) => part.units !== 0 && !(part.source === "overage" && part.state === "not_offered"));
  const all = drawn.reduce((sum, part) => sum + width(part), 0);
  const named = (part: Part): string => (part.source === "lot" ? lots(part, parts).toLowerCase() : part.source);
  const said = parts.map((part) => `${named(part)}: ${units(part.used)} used${part.units === null ? "" : ` of ${units(part.units)}`}`).join("; ");
  return (
    <>
      <div class="waterfall" role="img" aria-label={`${units(used)} units used this month. ${said}.`}>
        {drawn.map((part) => (
          <span key={named(part)} class={css(part)} style={{ width: `${(width(part) * 100) / Math.max(all, 1)}%` }} title={named(part)}>
            <i style={{ width: `${percent(part.used, width(part))}%` }} />
          </span>
        ))}
      </div>
      <div class="legend">
        {drawn.map((part) => (
          <span key={named(part)}>
            <span class={`swatch ${css(part)}`} />
            {part.source === "overage" ? "Overage" : part.source === "lot" ? lots(part, parts) : "Included"} <b>{units(part.used)}</b>
            {part.units !== null && <> of {units(part.units)}</>}
            {part.source === "overage" && part.state && part.used === 0 && <> ({part.state.replace(/_/g, " ")})</>}
          </span>
        ))}
      </div>
    </>
  );
}

/** The day on which what pays for the month is used up, at the present pace. */
export function Ends({ forecast }: { forecast: { outcome: string; date: string | null } }) {
  if (forecast.outcome === "ended") return <Tag tone="bad">used up</Tag>;
  if (forecast.date) return <span>at this pace used up on <b>{date(`${forecast.date.slice(0, 10)}T00:00:00Z`)}</b></span>;
  return <span>{forecast.outcome === "no_pace" ? "no pace yet" : "lasts beyond the month at this pace"}</span>;
}
