// A table that scrolls by itself on a narrow screen, and can be sorted where its columns say how.
import { useState } from "preact/hooks";
import type { Children } from "./parts";

export interface Column<T> {
  title: string;
  cell: (row: T) => Children;
  num?: boolean;
  /** What it is sorted by; columns without it are not. */
  by?: (row: T) => number | string;
  /** What a narrow screen can do without. */
  wide?: boolean;
}

interface Options<T> {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  name: (row: T) => string | number;
  foot?: Children;
  empty?: Children;
}

export function Table<T>({ caption, columns, rows, name, foot, empty }: Options<T>) {
  const [order, set] = useState<{ column: number; down: boolean } | null>(null);
  if (rows.length === 0 && empty) return <>{empty}</>;
  const by = order === null ? undefined : columns[order.column]?.by;
  const sorted = by ? rows.toSorted((a, b) => compare(by(a), by(b)) * (order?.down ? -1 : 1)) : rows;
  return (
    <div class="scroll" role="region" aria-label={caption} tabIndex={0}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column, number) => {
              const mine = order?.column === number;
              const press = (): void => set({ column: number, down: mine ? !order.down : column.num === true });
              return (
                <th key={column.title} scope="col" class={classes(column)} aria-sort={mine ? (order.down ? "descending" : "ascending") : undefined}>
                  {column.by ? <button type="button" class="sort" onClick={press}>{column.title}<span aria-hidden="true">{mine ? (order.down ? " ↓" : " ↑") : ""}</span></button> : column.title === "Actions" ? <span class="unseen">Actions</span> : column.title}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <tr key={name(row)}>
              {columns.map((column) => <td key={column.title} class={classes(column)}>{column.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
        {foot && <tfoot>{foot}</tfoot>}
      </table>
    </div>
  );
}

const classes = <T,>(column: Column<T>): string => [column.num ? "num" : "", column.wide ? "wide-only" : ""].join(" ").trim();

function compare(a: number | string, b: number | string): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : Number(a !== b);
}
