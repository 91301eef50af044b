// The units of each day in groups: what a chart stacks, the table under it tells and a file has, all of it the same numbers.
import type { Paid, Series, Usage } from "./report";
import { agentName, kindName } from "./format";

export type By = "kind" | "agent" | "source";

export interface Group {
  name: string;
  /** A custom property of the style sheet. */
  colour: string;
  values: number[];
}

/** How many agents have a colour of their own; all others are one group more. */
export const COLOURED_MAX = 7;

const KINDS = ["--accent", "--tint-2", "--tint-3"];

export const byKind = ({ days }: Usage): Group[] =>
  Object.keys(days[0]?.kinds ?? {}).map((kind, index) => ({
    name: kindName(kind),
    colour: KINDS[index] ?? "--tint-3",
    values: days.map((day) => day.kinds[kind] ?? 0),
  }));

/** Those that were named first, and what is left of each day's sum. */
export function byAgent(series: Series, agents: string[], sums: number[]): Group[] {
  const groups = agents.slice(0, COLOURED_MAX).map((agent, index) => ({
    name: agentName(agent),
    colour: `--c${index}`,
    values: sums.map((_, day) => series.get(agent)?.[day] ?? 0),
  }));
  const rest = sums.map((sum, day) => groups.reduce((left, group) => left - (group.values[day] ?? 0), sum));
  return rest.some((left) => left > 0) ? [...groups, { name: "Other", colour: "--rest", values: rest }] : groups;
}

/** The quota, lots and overage, always all three, and what is not billed where anything is. */
export function bySource({ days }: Paid): Group[] {
  const group = (name: string, colour: string, of: (day: Paid["days"][number]) => number): Group => ({ name, colour, values: days.map(of) });
  const unbilled = group("Not billed", "--rest", (day) => day.unbilled);
  const groups = [
    group("Included", "--accent", (day) => day.included),
    group("Lots", "--tint-2", (day) => day.lot),
    group("Overage", "--warn", (day) => day.overage),
  ];
  return unbilled.values.some((units) => units > 0) ? [...groups, unbilled] : groups;
}

/** The sum of some agents on each day. */
export const sumOf = (series: Series, days: number): number[] => {
  const sums = new Array<number>(days).fill(0);
  for (const values of series.values()) values.forEach((units, day) => (sums[day] = (sums[day] ?? 0) + units));
  return sums;
};
