// What the agents in sight used, day by day: asked for when they come into sight, and kept for as long as the report is looked at.
import { useEffect, useRef, useState } from "preact/hooks";
import { ASKED_MAX, type Series } from "./report";

/** Whoever scrolls past rows does not wait for them, and asks nothing for them. */
const REST_MS = 80;

type Ask = (agents: string[], signal: AbortSignal) => Promise<{ data: Series }>;

/** The series of what is seen, as far as they are there; `key` names the report that they are of. */
export function useSeen(key: string, seen: string[], ask: Ask): Series {
  const [state, set] = useState<{ key: string; found: Series }>({ key, found: new Map() });
  const asks = useRef(ask);
  asks.current = ask;
  const found = state.key === key ? state.found : NONE;
  const missing = seen.filter((agent) => !found.has(agent)).slice(0, ASKED_MAX);
  const wanted = missing.join(" ");
  useEffect(() => {
    if (!wanted) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      asks.current(wanted.split(" "), stop.signal).then(
        ({ data }) => stop.signal.aborted || set((last) => ({ key, found: new Map([...(last.key === key ? last.found : NONE), ...data]) })),
        // Rows without a line are still right; what is refused, the report itself says.
        () => {},
      );
    }, REST_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key, wanted]);
  return found;
}

const NONE: Series = new Map();
