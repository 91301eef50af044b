// Who used how much on which day, as a table whose cells are tinted: it is read as numbers too.
import { addDays, daysBetween, type Span } from "../days";
import { dayName, agentName, short, units } from "../format";
import type { Line } from "../report";
import { Empty } from "./parts";

const AGENTS = 12;
const COLUMNS_MAX = 31;

export function Heat({ lines, span }: { lines: Line[]; span: Span }) {
  const days = daysBetween(span.from, span.to);
  const together = Math.ceil(days / COLUMNS_MAX);
  const columns = Array.from({ length: Math.ceil(days / together) }, (_, index) => addDays(span.from, index * together));
  const cells = new Map<string, number[]>();
  const column = new Map(Array.from({ length: days }, (_, day) => [addDays(span.from, day), Math.floor(day / together)]));
  for (const line of lines) {
    const row = cells.get(line.agent) ?? new Array<number>(columns.length).fill(0);
    const at = column.get(line.day);
    if (at !== undefined) row[at] = (row[at] ?? 0) + line.units;
    cells.set(line.agent, row);
  }
  const sum = (row: number[]): number => row.reduce((total, value) => total + value, 0);
  const rows = [...cells].filter(([, row]) => sum(row) > 0).sort((a, b) => sum(b[1]) - sum(a[1])).slice(0, AGENTS);
  if (rows.length === 0) return <Empty title="Nothing was counted in these days." />;
  const most = Math.max(...rows.flatMap(([, row]) => row));
  return (
    <div class="scroll" role="region" aria-label="Units by day and agent" tabIndex={0}>
      <table class="heat">
        <caption class="unseen">Units by {together === 1 ? "day" : `${together} days`} and agent</caption>
        <thead>
          <tr><th scope="col">Agent</th>{columns.map((day, index) => <th key={day} scope="col" title={together === 1 ? day : `${together} days from ${day}`}><span class="unseen">{day}</span><span aria-hidden="true">{index % 7 === 0 || columns.length < 12 ? dayName(day) : day.slice(8)}</span></th>)}</tr>
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
  );
}

const level = (value: number, most: number): number => (value === 0 ? 0 : Math.min(4, 1 + Math.floor((value * 4) / (most + 1))));
