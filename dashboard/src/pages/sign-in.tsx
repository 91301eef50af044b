// Signing in: by password, by a link that works once, or by an invitation. Secrets come in the address's fragment,
// which no server sees, and leave it before anything else is done.
import { useEffect, useState } from "preact/hooks";
import { api, type Problem, problemOf, settle } from "../api";
import { go, path } from "../router";
import { ended, type Session, take } from "../session";
import { Mark } from "../shell";
import { Field, Form, Notice, Skeleton, Trouble } from "../ui/parts";

/** What the address's fragment held when the page was opened. */
export const brought = { link: "", invitation: "" };

export function SignIn() {
  useEffect(() => {
    document.title = "Sign in · Palveron Meter";
  }, []);
  return (
    <main class="door">
      <div class="door-card">
        <p class="brand"><Mark />Palveron Meter</p>
        {brought.link ? <ByLink /> : brought.invitation ? <ByInvitation /> : <ByPassword />}
      </div>
      <p class="door-foot soft">
        <a href="/openapi.json">Interface</a> · <a href="/readyz">Readiness</a>
      </p>
    </main>
  );
}

function enter(session: Session): void {
  brought.link = "";
  brought.invitation = "";
  take(session);
  if (path.value === "/sign-in" || path.value === "/invitation") go("/");
}

function ByPassword() {
  const act = async ({ email = "", password = "" }: Record<string, string>): Promise<void> => {
    enter((await settle(api.POST("/api/v1/session", { body: { email, password } }))).data);
  };
  return (
    <>
      <h1>Sign in</h1>
      {ended.value && <Notice>{ended.value}</Notice>}
      <Form act={act} submit="Sign in">
        <Field label="E-mail"><input name="email" type="email" autocomplete="username" required /></Field>
        <Field label="Password"><input name="password" type="password" autocomplete="current-password" required /></Field>
      </Form>
      <p class="soft small-text">No password, or forgotten? An owner of your project or an operator can give you a link that signs you in once.</p>
    </>
  );
}

function ByLink() {
  const [problem, set] = useState<Problem | null>(null);
  useEffect(() => {
    const token = brought.link;
    settle(api.POST("/api/v1/session/link", { body: { token } })).then(({ data }) => enter(data), (error: unknown) => {
      brought.link = "";
      set(problemOf(error));
    });
  }, []);
  return (
    <>
      <h1>Signing you in</h1>
      {problem ? <><Trouble problem={problem} /><p><a href="/sign-in">Sign in with a password</a></p></> : <Skeleton lines={2} />}
    </>
  );
}

function ByInvitation() {
  const act = async ({ name = "", password = "" }: Record<string, string>): Promise<void> => {
    const { data } = await settle(api.POST("/api/v1/session/invitation", { body: { token: brought.invitation, name, password } }));
    enter(data);
  };
  return (
    <>
      <h1>You are invited</h1>
      <p class="soft">Choose a password and you are in. If you already have an account under the invited e-mail, give its password.</p>
      <Form act={act} submit="Accept and sign in">
        <Field label="Your name"><input name="name" autocomplete="name" required maxLength={120} /></Field>
        <Field label="Password" hint="12 characters or more"><input name="password" type="password" autocomplete="new-password" required minLength={12} maxLength={200} /></Field>
      </Form>
    </>
  );
}
