// A table that scrolls by itself on a narrow screen. How it is sorted and what is sought in it are in the address, so that
// what is looked at can be sent; what is seen can be taken along as a file.
import { useRef } from "preact/hooks";
import { serverNow } from "../api";
import { type Cell, slug, textOf } from "../csv";
import { query, setQuery } from "../router";
import { project } from "../session";
import { type Children, Empty } from "./parts";
import { SaveCsv } from "./save";

export interface Column<T> {
  title: string;
  cell: (row: T) => Children;
  num?: boolean;
  /** What it is sorted by; columns without it are not. */
  by?: (row: T) => number | string;
  /** What a file has of it; else what it is sorted by, or what is read. */
  csv?: (row: T) => Cell;
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
  /** Where the address has what is sought in it; nothing can be sought without it. */
  find?: string;
  /** What the file of its rows is called. */
  file?: string;
}

/** Fewer rows are looked through by eye. */
const SOUGHT_MIN = 6;

export function Table<T>({ caption, columns, rows, name, foot, empty, find, file }: Options<T>) {
  const body = useRef<HTMLTableSectionElement>(null);
  const at = `sort-${slug(caption.replace(/\d/g, ""))}`;
  const order = orderOf(query.value.get(at), columns.length);
  const sought = find ? (query.value.get(find) ?? "") : "";
  if (rows.length === 0 && empty) return <>{empty}</>;
  const found = sought ? rows.filter((row) => JSON.stringify(row).toLowerCase().includes(sought.toLowerCase())) : rows;
  const by = order === null ? undefined : columns[order.column]?.by;
  const sorted = by ? found.toSorted((a, b) => compare(by(a), by(b)) * (order?.down ? -1 : 1)) : found;
  const seen = (): Cell[][] => {
    const shown = columns.map((column, number) => ({ column, number })).filter(({ column }) => column.title !== "Actions");
    const line = (row: T, at: number): Cell[] =>
      shown.map(({ column, number }) => column.csv?.(row) ?? column.by?.(row) ?? textOf(body.current?.rows[at]?.cells[number]));
    return [shown.map(({ column }) => column.title), ...sorted.map(line)];
  };
  return (
    <>
      {find && (rows.length >= SOUGHT_MIN || sought) && (
        <p class="find"><input type="search" aria-label={`Find in ${caption}`} placeholder="Find" value={sought} onInput={(event) => setQuery({ [find]: event.currentTarget.value }, { replace: true })} /></p>
      )}
      {sorted.length === 0 && sought ? <Empty title="No row has that in it." /> : (
        <div class="scroll" role="region" aria-label={caption} tabIndex={0}>
          <table>
            <caption class="unseen">{caption}</caption>
            <thead>
              <tr>
                {columns.map((column, number) => {
                  const mine = order?.column === number;
                  const down = mine ? !order.down : column.num === true;
                  const press = (): void => setQuery({ [at]: `${number}${down ? "d" : "u"}` }, { replace: true });
                  return (
                    <th key={column.title} scope="col" class={classes(column)} aria-sort={mine ? (order.down ? "descending" : "ascending") : undefined}>
                      {column.by ? <button type="button" class="sort" onClick={press}>{column.title}<span aria-hidden="true">{mine ? (order.down ? " ↓" : " ↑") : ""}</span></button> : column.title === "Actions" ? <span class="unseen">Actions</span> : column.title}
                    </th>
                  );
                })}
              </tr>
            </thead>
            <tbody ref={body}>
              {sorted.map((row) => (
                <tr key={name(row)}>
                  {columns.map((column) => <td key={column.title} class={classes(column)}>{column.cell(row)}</td>)}
                </tr>
              ))}
            </tbody>
            {foot && <tfoot>{foot}</tfoot>}
          </table>
        </div>
      )}
      {sorted.length > 0 && <SaveCsv what={caption} file={file ?? `${slug(caption)}-${project.value}-${new Date(serverNow()).toISOString().slice(0, 19).replace(/\W/g, "")}Z`} rows={seen} />}
    </>
  );
}

const classes = <T,>(column: Column<T>): string => [column.num ? "num" : "", column.wide ? "wide-only" : ""].join(" ").trim();

/** Which column the address sorts by, and whether the largest comes first. */
function orderOf(text: string | null, columns: number): { column: number; down: boolean } | null {
  const found = /^(\d{1,2})([du])$/.exec(text ?? "");
  const column = Number(found?.[1]);
  return found && column < columns ? { column, down: found[2] === "d" } : null;
}

function compare(a: number | string, b: number | string): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a) < String(b) ? -1 : Number(a !== b);
}
