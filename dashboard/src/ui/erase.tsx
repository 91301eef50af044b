// Erasing a person: the question says what goes and what stays, and is answered by typing the address.
import { useId, useRef, useState } from "preact/hooks";
import { api, type Problem, problemOf, type Schemas, settle } from "../api";
import { foreign } from "../format";
import { Field, Notice, Trouble } from "./parts";

export type Erased = Schemas["ErasedView"];

/** A button that asks, and erases. Whoever uses it shows what came of it, because the row of the person is gone then. */
export function Erase({ account, done }: { account: { id: string; email: string }; done: (erased: Erased) => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const [state, set] = useState<{ busy: boolean; differs: boolean; problem: Problem | null }>({ busy: false, differs: false, problem: null });
  const id = useId();
  const ask = (): void => {
    set({ busy: false, differs: false, problem: null });
    if (field.current) field.current.value = "";
    dialog.current?.showModal();
  };
  const erase = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (field.current?.value.trim() !== account.email) {
      set({ busy: false, differs: true, problem: null });
      field.current?.focus();
      return;
    }
    set({ busy: true, differs: false, problem: null });
    try {
      const { data } = await settle(api.POST("/api/v1/admin/accounts/{name}/erase", { params: { path: { name: account.id } } }));
      dialog.current?.close();
      done(data);
    } catch (error) {
      set({ busy: false, differs: false, problem: problemOf(error) });
    }
  };
  return (
    <>
      <button type="button" class="danger" aria-haspopup="dialog" onClick={ask}>Erase</button>
      <dialog ref={dialog} class="ask" aria-labelledby={`${id}-title`} aria-describedby={`${id}-what`}>
        <form class="form" onSubmit={erase}>
          <h2 id={`${id}-title`}>Erase {foreign(account.email)}?</h2>
          <p id={`${id}-what`}>Address, name, password, sessions, links and all memberships with their tokens go for ever; what the person did stays in the audit log, under the account's id alone.</p>
          <Field label={<>Type <strong>{foreign(account.email)}</strong> to confirm</>}>
            <input ref={field} name="confirm" required autoComplete="off" spellcheck={false} aria-invalid={state.differs} aria-describedby={state.differs ? `${id}-differs` : undefined} />
          </Field>
          {state.differs && <p id={`${id}-differs`} class="refused" role="alert">That is another address; nothing was erased.</p>}
          {state.problem && <Trouble problem={state.problem} />}
          <div class="form-end">
            <button type="button" onClick={() => dialog.current?.close()}>Keep</button>
            <button type="submit" class="danger" disabled={state.busy}>{state.busy ? "…" : "Erase for ever"}</button>
          </div>
        </form>
      </dialog>
    </>
  );
}

/** What came of it, heard as soon as it is there. */
export const ErasedNotice = ({ erased }: { erased: Erased }) => (
  <div role="status">
    <Notice tone="good" title="The person is erased">
      The audit log goes on naming {erased.account}, which is nobody's{erased.projects.length > 0 && <>; it was a member of {erased.projects.join(", ")}</>}.
    </Notice>
  </div>
);
