// Who used how much on which day, as a table whose cells are tinted: it is read as numbers too.
import type { Cell } from "../csv";
import { addDays } from "../days";
import { dayName, agentName, short, units } from "../format";
import type { Series } from "../report";
import { together } from "../together";
import { Empty } from "./parts";
import { SaveCsv } from "./save";

const COLUMNS_MAX = 31;

export function Heat({ series, agents, from, file }: { series: Series; agents: string[]; from: string; file: string }) {
  const days = Math.max(0, ...[...series.values()].map((values) => values.length));
  const each = Math.ceil(days / COLUMNS_MAX);
  const columns = Array.from({ length: Math.ceil(days / Math.max(1, each)) }, (_, index) => addDays(from, index * each));
  const rows = agents.map((agent): [string, number[]] => [agent, together(series.get(agent) ?? [], COLUMNS_MAX)]);
  if (rows.length === 0) return <Empty title="Nothing was counted in these days." />;
  const most = Math.max(...rows.flatMap(([, row]) => row));
  const asFile = (): Cell[][] => [[each === 1 ? "Agent / day (UTC)" : `Agent / ${each} days from (UTC)`, ...columns], ...rows.map(([agent, row]): Cell[] => [agent, ...row])];
  return (
    <>
      <div class="scroll" role="region" aria-label="Units by day and agent" tabIndex={0}>
        <table class="heat">
          <caption class="unseen">Units by {each === 1 ? "day" : `${each} days`} and agent</caption>
          <thead>
            <tr><th scope="col">Agent</th>{columns.map((day, index) => <th key={day} scope="col" title={each === 1 ? day : `${each} days from ${day}`}><span class="unseen">{day}</span><span aria-hidden="true">{index % 7 === 0 || columns.length < 12 ? dayName(day) : day.slice(8)}</span></th>)}</tr>
          </thead>
          <tbody>
            {rows.map(([agent, row]) => (
              <tr key={agent}>
                <th scope="row">{agentName(agent)}</th>
                {row.map((value, index) => <td key={columns[index]}><span class={`h${level(value, most)}`} title={`${columns[index]}: ${units(value)}`}>{value === 0 ? "·" : short(value)}</span></td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <SaveCsv what="Day by agent" file={`${file}-days-of-agents`} rows={asFile} />
    </>
  );
}

const level = (value: number, most: number): number => (value === 0 ? 0 : Math.min(4, 1 + Math.floor((value * 4) / (most + 1))));
