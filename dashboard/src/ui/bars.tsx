// Counts by name, as bars beside each other; each leads to where it is explained.
import { percent, units } from "../format";
import { Go } from "./parts";

export interface Bar {
  name: string;
  count: number;
  to?: string;
}

export function Bars({ bars }: { bars: Bar[] }) {
  const most = Math.max(1, ...bars.map((bar) => bar.count));
  return (
    <div class="bars">
      {bars.map((bar) => {
        const inside = (
          <>
            <span class="bar-name">{bar.name}</span>
            <span class="bar-track"><i style={{ width: `${percent(bar.count, most)}%` }} /></span>
            <span class="num">{units(bar.count)}</span>
          </>
        );
        return bar.to ? <Go key={bar.name} to={bar.to}>{inside}</Go> : <div key={bar.name} class="bar-row">{inside}</div>;
      })}
    </div>
  );
}
