// The Command Center's numbers: one answer of the server, moved on by the live stream. Each is true for one instant,
// and nothing is counted twice: the answer says up to which event of the stream it goes.
import { useEffect, useReducer, useRef } from "preact/hooks";
import { api, type Problem, problemOf, type Schemas, serverNow, settle } from "./api";
import { more, type Reasons } from "./denied";
import { type Told, watch } from "./live";

export type Overview = Schemas["Overview"];
export type Part = Schemas["Part"];

/** Units or refusals of one moment. */
export interface Tick {
  at: number;
  units: number;
  denied: number;
}

export interface Live {
  overview: Overview | null;
  problem: Problem | null;
  /** Since when nothing is heard; null while the stream lives. */
  deadSince: string | null;
  connected: boolean;
  ticks: Tick[];
  /** What happened lately beside counting, the newest first. */
  told: Told[];
  /** The last events of all kinds, for an answer that was made before them. */
  recent: Told[];
  /** The number of the last event that was heard. */
  heard: number;
}

type Step =
  | { kind: "answer"; overview: Overview }
  | { kind: "problem"; problem: Problem }
  | { kind: "live"; deadSince: string | null }
  | { kind: "told"; told: Told };

const TICKS_MS = 5 * 60_000;
const TOLD_MAX = 8;
/** What an event does not say (the forecast, the parts) is asked for this long after it. */
const REFRESH_MS = 1_500;
/** And also where nothing happens: a minute's pace goes down by itself. */
const IDLE_MS = 15_000;

/** More events than come while one answer is on its way. */
const RECENT_MAX = 200;

/** About as many events as a busy project has in five minutes: the chart begins with them. */
const EARLIER = 1_000;

const START: Live = { overview: null, problem: null, deadSince: null, connected: false, ticks: [], told: [], recent: [], heard: 0 };

function step(state: Live, change: Step): Live {
  switch (change.kind) {
    case "answer": {
      // What the stream has told since that answer was made is added to it, so that no figure turns back.
      return { ...state, overview: state.recent.reduce(moved, change.overview), problem: null };
    }
    case "problem":
      return { ...state, problem: change.problem };
    case "live":
      return { ...state, deadSince: change.deadSince, connected: change.deadSince === null };
    case "told":
      return heard(state, change.told);
  }
}

function heard(state: Live, told: Told): Live {
  if (!state.overview || told.number <= state.heard) return state;
  const isNew = told.number > state.overview.watermark;
  const overview = moved(state.overview, told);
  // When it happened, not when it was heard: a stream that was cut tells later what came meanwhile.
  const at = Date.parse(told.timestamp);
  const ticks = state.ticks.filter((tick) => tick.at > serverNow() - TICKS_MS);
  const added = isLive(told) && at > serverNow() - TICKS_MS ? Number(told.data.added ?? 0) : 0;
  if (told.type === "usage.counted" && added > 0) ticks.push({ at, units: added, denied: 0 });
  if (told.type === "denials.counted" && added > 0) ticks.push({ at, units: 0, denied: added });
  const quiet = ["usage.counted", "denials.counted", "usage.denied", "delivery.tried"].includes(told.type);
  return {
    ...state,
    overview,
    ticks,
    heard: told.number,
    recent: [...state.recent, told].slice(-RECENT_MAX),
    told: quiet || !isNew ? state.told : [told, ...state.told].slice(0, TOLD_MAX),
  };
}

const isLive = (told: Told): boolean => (told.data.mode ?? "live") === "live";

/** The numbers after one event more; as they are where it is one of those that they include. */
function moved(overview: Overview, told: Told): Overview {
  if (told.number <= overview.watermark) return overview;
  const next = { ...overview, watermark: told.number, as_of: told.timestamp };
  if (!isLive(told)) return next;
  const added = Number(told.data.added ?? 0);
  if (told.type === "usage.counted") {
    next.today = { ...next.today, units: next.today.units + added };
    next.month = { ...next.month, used: Number(told.data.used ?? next.month.used + added) };
  } else if (told.type === "denials.counted") {
    const refused = told.data.reasons as Reasons | undefined;
    const served = told.data.would_have_denied as Reasons | undefined;
    next.denied = { today: more(next.denied.today, refused), month: more(next.denied.month, refused) };
    const would = next.would_have_denied;
    next.would_have_denied = { today: more(would.today, served), month: more(would.month, served) };
  }
  return next;
}

export function useOverview(project: string): Live {
  const [state, send] = useReducer(step, START);
  const began = useRef(false);
  useEffect(() => {
    if (!project) return;
    began.current = false;
    const stop = new AbortController();
    let end = (): void => {};
    let soon: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      try {
        const answer = await settle(api.GET("/api/v1/overview", { params: { query: { project } }, signal: stop.signal }));
        send({ kind: "answer", overview: answer.data });
        if (!began.current && !stop.signal.aborted) {
          began.current = true;
          end = watch(project, Math.max(0, answer.data.watermark - EARLIER), {
            event: (told) => {
              send({ kind: "told", told });
              soon ??= setTimeout(refresh, REFRESH_MS);
            },
            live: (deadSince) => send({ kind: "live", deadSince }),
          });
        }
      } catch (error) {
        if (!stop.signal.aborted) send({ kind: "problem", problem: problemOf(error) });
      }
    };
    const refresh = (): void => {
      soon = undefined;
      void ask();
    };
    const idle = setInterval(refresh, IDLE_MS);
    void ask();
    return () => {
      stop.abort();
      end();
      clearTimeout(soon);
      clearInterval(idle);
    };
  }, [project]);
  return state;
}
