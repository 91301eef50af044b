// How numbers, money and instants are written: by the reader's locale, always in UTC, and never rounded unsaid.

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export const units = (value: number): string => whole.format(value);
export const short = (value: number): string => (value < 10_000 ? whole.format(value) : compact.format(value));

export interface Money {
  minor: string | number;
  currency: string;
}

export function money({ minor, currency }: Money): string {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency: currency.toUpperCase() });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  // By text: an amount may have more digits than a number holds, and a division may round.
  const [sign, whole] = String(minor).startsWith("-") ? ["-", String(minor).slice(1)] : ["", String(minor)];
  const text = whole.padStart(digits + 1, "0");
  const cut = text.length - digits;
  const decimal = sign + (digits === 0 ? text : `${text.slice(0, cut)}.${text.slice(cut)}`);
  return format.format(decimal as unknown as number);
}

/** The price of 1,000 units of what `count` units cost `minor`, rounded up to a minor unit. */
export function perThousand(minor: number, count: number): number {
  return count === 0 ? 0 : Math.ceil((minor * 1000) / count);
}

export const percent = (part: number, of: number): number => (of === 0 ? 0 : Math.floor((part * 100) / of));

const dates = new Intl.DateTimeFormat(undefined, { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const dayNames = new Intl.DateTimeFormat(undefined, { timeZone: "UTC", day: "numeric", month: "short" });
const months = new Intl.DateTimeFormat(undefined, { timeZone: "UTC", month: "long", year: "numeric" });

/** `14:05:07 UTC`, also of yesterday: what is shown beside it says which day. */
export const clock = (at: string | Date): string => `${new Date(at).toISOString().slice(11, 19)} UTC`;
export const date = (at: string | Date): string => dates.format(new Date(at));
export const dayName = (day: string): string => dayNames.format(new Date(`${day}T00:00:00Z`));
export const month = (period: string): string => months.format(new Date(`${period}-01T00:00:00Z`));
export const moment = (at: string | Date): string => `${date(at)}, ${clock(at)}`;

/** A sentence of the server's, with its instants as they are written here. */
export const told = (sentence: string): string => sentence.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, moment);

export function ago(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

/** `quota_exhausted` as people say it. */
export const words = (code: string): string => {
  const text = code.replace(/[_.]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

const KINDS: Record<string, string> = {
  verify: "Verify",
  mcp_tool_call: "MCP tool call",
  extension_event: "Extension event",
};
export const kindName = (kind: string): string => KINDS[kind] ?? words(kind);

const AGENT_SHOWN = /[\u0000-\u001f\u007f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g;
/** A name that somebody else chose, without characters that would reorder or hide what is beside it. */
export const foreign = (name: string): string => name.replace(AGENT_SHOWN, "\u{fffd}");

/** An agent's name as its caller wrote it: on the wire what is not visible ASCII is percent-encoded. */
export function agentName(agent: string): string {
  try {
    return foreign(decodeURIComponent(agent));
  } catch {
    return foreign(agent);
  }
}
