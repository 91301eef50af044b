// Days of UTC as texts such as 2026-05-31, which is how the interface and the address write them.

const DAY_MS = 86_400_000;

export const toDay = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
export const ofDay = (day: string): number => Date.parse(`${day}T00:00:00Z`);
export const addDays = (day: string, days: number): string => toDay(ofDay(day) + days * DAY_MS);
export const daysBetween = (from: string, to: string): number => Math.round((ofDay(to) - ofDay(from)) / DAY_MS) + 1;
export const isDay = (text: string): boolean => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(ofDay(text));

export interface Span {
  from: string;
  to: string;
}

/** The days just before a span, as many as it has. */
export function before({ from, to }: Span): Span {
  const count = daysBetween(from, to);
  return { from: addDays(from, -count), to: addDays(from, -1) };
}

/** A span in pieces that one call may ask for. */
export function pieces({ from, to }: Span, daysMax = 366): Span[] {
  const found: Span[] = [];
  for (let start = from; start <= to; start = addDays(start, daysMax)) {
    const end = addDays(start, daysMax - 1);
    found.push({ from: start, to: end < to ? end : to });
  }
  return found;
}

export function monthOf(day: string): Span {
  const from = `${day.slice(0, 7)}-01`;
  const next = new Date(ofDay(from));
  next.setUTCMonth(next.getUTCMonth() + 1);
  return { from, to: addDays(toDay(next.getTime()), -1) };
}

export function monthsAgo(day: string, count: number): string {
  const at = new Date(ofDay(`${day.slice(0, 7)}-01`));
  at.setUTCMonth(at.getUTCMonth() - count);
  return toDay(at.getTime());
}
