// The live stream of a project. A stream that is silent for longer than its heartbeat is dead, whatever the browser
// thinks of it; what it told last is then shown as of its instant, never as fresh.
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { Refused, signedOut } from "./api";

/** The server says that it lives every 15 seconds; one lost heartbeat is a dead stream. */
const SILENT_MS_MAX = 20_000;
const AGAIN_MS = [1_000, 2_000, 4_000, 8_000, 15_000];

export interface Told {
  number: number;
  type: string;
  timestamp: string;
  data: Record<string, unknown>;
}

export interface Listener {
  event: (told: Told) => void;
  /** Since when there is no stream; null while there is one. */
  live: (deadSince: string | null) => void;
}

/** Watches until it is stopped; what was missed while a stream was dead is told first when it lives again. */
export function watch(project: string, after: number | null, listener: Listener): () => void {
  const stopped = new AbortController();
  let last = after;
  let heard = new Date();
  let tries = 0;

  async function stream(): Promise<void> {
    const stop = new AbortController();
    const end = (): void => stop.abort();
    stopped.signal.addEventListener("abort", end);
    let silence = setTimeout(end, SILENT_MS_MAX);
    const alive = (): void => {
      heard = new Date();
      clearTimeout(silence);
      silence = setTimeout(end, SILENT_MS_MAX);
    };
    try {
      const query = new URLSearchParams({ project });
      if (last !== null) query.set("after", String(last));
      const response = await fetch(`/api/v1/events?${query}`, { signal: stop.signal, headers: { accept: "text/event-stream" } });
      if (response.status === 401) signedOut.tell();
      if (!response.ok || !response.body) throw new Error(`the stream answered ${response.status}`);
      const parser = createParser({ onEvent: (event) => take(event), onComment: alive });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      tries = 0;
      alive();
      listener.live(null);
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        alive();
        parser.feed(value);
      }
    } finally {
      clearTimeout(silence);
      stopped.signal.removeEventListener("abort", end);
    }
  }

  function take(event: EventSourceMessage): void {
    if (event.id) last = Number(event.id);
    try {
      const told = JSON.parse(event.data) as Omit<Told, "number">;
      listener.event({ ...told, number: Number(event.id ?? 0) });
    } catch {
      // A frame that is no event of ours says nothing.
    }
  }

  async function run(): Promise<void> {
    while (!stopped.signal.aborted) {
      await stream().catch((error: unknown) => {
        if (error instanceof Refused) throw error;
      });
      if (stopped.signal.aborted) return;
      listener.live(heard.toISOString());
      const wait = AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)] ?? 1_000;
      tries += 1;
      await new Promise((wake) => setTimeout(wake, wait));
    }
  }

  void run();
  return () => stopped.abort();
}
