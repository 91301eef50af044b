// The small parts that every page is made of.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type Answer, type Problem, problemOf } from "../api";
import { clock, moment, told } from "../format";
import type { Resource } from "../resource";
import { go } from "../router";

export type Children = ComponentChildren;

/** A link within the page; with a modifier key it opens as any other. */
export function Go({ to, children, class: name, "aria-current": current }: { to: string; children: Children; class?: string; "aria-current"?: "page" | undefined }) {
  const follow = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(to);
  };
  return (
    <a class={name} aria-current={current} href={to} onClick={follow}>
      {children}
    </a>
  );
}

export function Page({ title, about, asOf, actions, children }: { title: string; about?: Children; asOf?: Children; actions?: Children; children: Children }) {
  const head = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Palveron Meter`;
    // A screen reader hears where it is; nobody sees a frame around the heading.
    head.current?.focus({ preventScroll: true });
  }, [title]);
  return (
    <>
      <header class="head">
        <div>
          <h1 ref={head} tabIndex={-1}>{title}</h1>
          {about && <p class="soft">{about}</p>}
        </div>
        <div class="head-side">
          {asOf}
          {actions}
        </div>
      </header>
      {children}
    </>
  );
}

export const AsOf = ({ at }: { at: string | null | undefined }) => (
  <span class="as-of" title={at ? moment(at) : ""}>{at ? <>as of <time dateTime={at}>{clock(at)}</time></> : " "}</span>
);

export function Card({ title, aside, children, class: name = "" }: { title?: Children; aside?: Children; children: Children; class?: string }) {
  return (
    <section class={`card ${name}`}>
      {title && (
        <div class="card-head">
          <h2>{title}</h2>
          {aside && <div class="card-aside">{aside}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

export const Figure = ({ label, children, note, name }: { label: Children; children: Children; note?: Children; name?: string }) => (
  <div class="figure" data-name={name}>
    <div class="label">{label}</div>
    <div class="value">{children}</div>
    {note !== undefined && <div class="note">{note}</div>}
  </div>
);

export const Tag = ({ tone = "plain", children }: { tone?: "plain" | "good" | "warn" | "bad" | "accent"; children: Children }) => (
  <span class={`tag ${tone}`}>{children}</span>
);

export const Notice = ({ tone = "plain", title, children }: { tone?: "plain" | "good" | "warn" | "bad"; title?: Children; children?: Children }) => (
  <div class={`notice ${tone}`} role={tone === "bad" ? "alert" : "note"}>
    {title && <strong>{title}</strong>}
    {children && <div>{children}</div>}
  </div>
);

/** What was refused, what to do, and where more is said. */
export function Trouble({ problem, again }: { problem: Problem; again?: (() => void) | undefined }) {
  const known = problem.code && !["page", "unreachable", "unknown"].includes(problem.code);
  return (
    <Notice tone="bad" title={problem.title}>
      <p>{told(problem.detail)}</p>
      <p class="row">
        {again && <button type="button" class="small" onClick={again}>Try again</button>}
        {known && <a href={`/errors/${problem.code}`} target="_blank" rel="noreferrer">About {problem.code}</a>}
      </p>
    </Notice>
  );
}

export const Empty = ({ title, children }: { title: Children; children?: Children }) => (
  <div class="empty">
    <p><strong>{title}</strong></p>
    {children && <div class="soft">{children}</div>}
  </div>
);

/** A place of the height that what is loaded will have, so that nothing jumps. */
export function Skeleton({ lines = 3, tall }: { lines?: number; tall?: number }) {
  const rows = Array.from({ length: lines }, (_, row) => <span key={row} class="bone" />);
  return (
    <div class="skeleton" aria-busy="true" style={tall ? { minHeight: `${tall}px` } : undefined}>
      <span class="unseen">Loading</span>
      {rows}
    </div>
  );
}

/** What was loaded; else its place, or why it could not be. */
export function Shown<T>({ of, lines, tall, children }: { of: Resource<T>; lines?: number; tall?: number; children: (data: T, answer: Answer<T>) => Children }) {
  const { answer, problem } = of;
  return (
    <>
      {problem && <Trouble problem={problem} again={of.reload} />}
      {answer ? children(answer.data, answer) : !problem && <Skeleton {...(lines ? { lines } : {})} {...(tall ? { tall } : {})} />}
    </>
  );
}

/** A page whose parts are below each other: shown once all of them are known, because none may push the next. */
export function When({ of, children }: { of: Resource<unknown>[]; children: Children }) {
  const seen = useRef(false);
  seen.current ||= of.every((one) => one.answer !== null || one.problem !== null);
  return seen.current ? <div class="stack">{children}</div> : <div class="card"><Skeleton lines={8} tall={420} /></div>;
}

/** A button that does something at the server: once at a time, and with its refusal beside it. */
export function Do({ act, children, why = "", tone = "", confirm, done }: { act: () => Promise<unknown>; children: Children; why?: string; tone?: string; confirm?: string; done?: string }) {
  const [state, set] = useState<{ busy: boolean; problem: Problem | null; done: boolean }>({ busy: false, problem: null, done: false });
  const id = useId();
  const run = async (): Promise<void> => {
    if (confirm && !window.confirm(confirm)) return;
    set({ busy: true, problem: null, done: false });
    try {
      await act();
      set({ busy: false, problem: null, done: true });
    } catch (error) {
      set({ busy: false, problem: problemOf(error), done: false });
    }
  };
  return (
    <span class="do">
      <button type="button" class={tone} disabled={state.busy || why !== ""} title={why || undefined} aria-describedby={why ? id : undefined} onClick={run}>
        {state.busy ? "…" : children}
      </button>
      {why && <span id={id} class="unseen">{why}</span>}
      {state.done && done && <span class="done" role="status">{done}</span>}
      {state.problem && <span class="refused" role="alert">{state.problem.title}: {told(state.problem.detail)}</span>}
    </span>
  );
}

/** A form whose fields are told to `act` by their names; its refusal is shown in it. */
export function Form({ act, submit, why = "", children, tone = "primary", inline = false }: { act: (fields: Record<string, string>, form: HTMLFormElement) => Promise<unknown>; submit: Children; why?: string; children: Children; tone?: string; inline?: boolean }) {
  const [state, set] = useState<{ busy: boolean; problem: Problem | null }>({ busy: false, problem: null });
  const run = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const fields: Record<string, string> = {};
    for (const [name, value] of new FormData(form)) if (typeof value === "string") fields[name] = value;
    set({ busy: true, problem: null });
    try {
      await act(fields, form);
      set({ busy: false, problem: null });
    } catch (error) {
      set({ busy: false, problem: problemOf(error) });
    }
  };
  return (
    <form class={inline ? "form inline" : "form"} onSubmit={run}>
      {children}
      <div class="form-end">
        <button type="submit" class={tone} disabled={state.busy || why !== ""} title={why || undefined}>{state.busy ? "…" : submit}</button>
        {why && <span class="soft small-text">{why}</span>}
      </div>
      {state.problem && <Trouble problem={state.problem} />}
    </form>
  );
}

export function Field({ label, hint, children }: { label: Children; hint?: Children; children: Children }) {
  return (
    <label class="field">
      <span class="field-label">{label}</span>
      {children}
      {hint && <span class="hint">{hint}</span>}
    </label>
  );
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, set] = useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(text);
    set(true);
    setTimeout(() => set(false), 2000);
  };
  return <button type="button" class="small" onClick={copy}>{done ? "Copied" : label}</button>;
}

/** A secret that is shown this once. */
export const Secret = ({ what, text, children }: { what: string; text: string; children?: Children }) => (
  <Notice tone="good" title={`${what}: shown this once`}>
    <p>Keep it where secrets are kept; nobody can show it again.</p>
    <p class="row"><code class="secret">{text}</code><Copy text={text} /></p>
    {children}
  </Notice>
);
