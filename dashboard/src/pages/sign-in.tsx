// Signing in: by password, by an identity provider, by a link that works once, or by an invitation. Secrets come in the
// address's fragment, which no server sees, and leave it before anything else is done.
import { useEffect, useState } from "preact/hooks";
import { api, type Problem, problemOf, settle } from "../api";
import { foreign } from "../format";
import { go, path } from "../router";
import { ended, type Session, take, ways } from "../session";
import { Mark } from "../shell";
import { Do, Field, Form, Notice, Skeleton, Trouble } from "../ui/parts";

/** What the address's fragment held when the page was opened. */
export const brought = { link: "", invitation: "", provider: null as URLSearchParams | null };

/** The page that an identity provider sends the browser back to. */
export const BACK = "/sign-in/provider";
/** Where one was before one left for it. */
const WAS = "before-signing-in";

export function SignIn() {
  useEffect(() => {
    document.title = "Sign in · Palveron Meter";
  }, []);
  return (
    <main class="door">
      <div class="door-card">
        <p class="brand"><Mark />Palveron Meter</p>
        {brought.link ? <ByLink /> : brought.invitation ? <ByInvitation /> : brought.provider ? <ByProvider came={brought.provider} /> : <ByPassword />}
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
  brought.provider = null;
  take(session);
  if (path.value === "/sign-in" || path.value === "/invitation") go("/");
}

async function leave(): Promise<void> {
  const { data } = await settle(api.POST("/api/v1/session/provider/begin"));
  const is = location.pathname + location.search;
  if (!is.startsWith("/sign-in") && !is.startsWith("/invitation")) sessionStorage.setItem(WAS, is);
  location.assign(data.url);
}

/** Nothing where no provider is configured. */
function Provider({ children }: { children?: string }) {
  const name = ways.value?.provider?.name;
  if (!name) return null;
  return (
    <div class="other-way">
      <p class="or"><span>{children ?? "or"}</span></p>
      <Do act={leave} tone="wide">{`Sign in with ${foreign(name)}`}</Do>
    </div>
  );
}

/** Back from the provider, with what shows it who one is; or with its reason. */
function ByProvider({ came }: { came: URLSearchParams }) {
  const [problem, set] = useState<Problem | null>(null);
  const [code, state, error] = ["code", "state", "error"].map((name) => came.get(name) ?? "");
  useEffect(() => {
    if (!code || !state) return;
    settle(api.POST("/api/v1/session/provider", { body: { code, state } })).then(
      ({ data }) => {
        const was = sessionStorage.getItem(WAS) ?? "/";
        sessionStorage.removeItem(WAS);
        enter(data);
        go(was);
      },
      (reason: unknown) => set(problemOf(reason)),
    );
  }, []);
  if (code && state && !problem) return <><h1>Signing you in</h1><Skeleton lines={2} /></>;
  return (
    <>
      <h1>You are not signed in</h1>
      {problem
        ? <Trouble problem={problem} />
        : <Notice tone="bad" title="The identity provider did not sign you in">{error ? `It says: ${foreign(error)}` : "It sent nothing that shows who you are."}</Notice>}
      <Provider>try again</Provider>
      <p class="small-text"><a href="/sign-in">Sign in with a password</a></p>
    </>
  );
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
      <Provider />
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
      <Provider>or without a password</Provider>
    </>
  );
}
