// What a page shows, as a file of CSV (RFC 4180): the very rows, in the order in which they are seen.

export type Cell = string | number;

/** What a spreadsheet takes for a formula where a cell begins with it, also in the wide forms of East Asian text. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

/** A cell: in quotes where it would be taken for several, and behind an apostrophe where a spreadsheet would compute it. */
function quoted(cell: Cell): string {
  if (typeof cell === "number") return String(cell);
  const doubled = cell.replaceAll('"', '""');
  if (FORMULA.test(cell)) return `"'${doubled}"`;
  return /[",\r\n]/.test(cell) ? `"${doubled}"` : cell;
}

export const csv = (rows: Cell[][]): string => rows.map((row) => `${row.map(quoted).join(",")}\r\n`).join("");

/** Long enough for any browser to have begun with it. */
const READ_MS = 60_000;

/** Hands rows over as a file. */
export function save(name: string, rows: Cell[][]): void {
  const address = URL.createObjectURL(new Blob([csv(rows)], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), READ_MS);
}

/** What is read in an element: its texts, with a space where one ends. */
export function textOf(element: Element | undefined): string {
  if (!element) return "";
  const texts: string[] = [];
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) texts.push(walker.currentNode.nodeValue?.trim() ?? "");
  return texts.filter(Boolean).join(" ");
}

/** Words as a part of a file's name. */
export const slug = (words: string): string => words.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
