// Something that is loaded: what was loaded last is shown until the next is there, and says of when it is.
import { useEffect, useRef, useState } from "preact/hooks";
import { type Answer, type Problem, problemOf } from "./api";

export interface Resource<T> {
  answer: Answer<T> | null;
  problem: Problem | null;
  loading: boolean;
  reload: () => void;
  /** Puts in what a change answered, without asking again. */
  put(answer: Answer<T>): void;
}

/** Loads whenever the key changes; an empty key loads nothing. */
export function useResource<T>(key: string, load: (signal: AbortSignal) => Promise<Answer<T>>): Resource<T> {
  const [state, set] = useState<{ key: string; answer: Answer<T> | null; problem: Problem | null; loading: boolean }>({
    key: "",
    answer: null,
    problem: null,
    loading: true,
  });
  const [turn, again] = useState(0);
  const loader = useRef(load);
  loader.current = load;
  useEffect(() => {
    if (!key) return;
    const stop = new AbortController();
    set((last) => ({ key, answer: last.key === key ? last.answer : null, problem: null, loading: true }));
    loader.current(stop.signal).then(
      (answer) => stop.signal.aborted || set({ key, answer, problem: null, loading: false }),
      (error: unknown) =>
        stop.signal.aborted ||
        set((last) => ({ key, answer: last.answer, problem: problemOf(error), loading: false })),
    );
    return () => stop.abort();
  }, [key, turn]);
  return {
    answer: state.key === key ? state.answer : null,
    problem: state.key === key ? state.problem : null,
    loading: state.loading || state.key !== key,
    reload: () => again((number) => number + 1),
    put: (answer) => set({ key, answer, problem: null, loading: false }),
  };
}
