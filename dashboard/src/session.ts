// Who is signed in, in which project they look around, and what their role lets them do there.
import { computed, signal } from "@preact/signals";
import { api, csrf, Refused, type Schemas, settle, signedOut } from "./api";
import { query, setQuery } from "./router";

export type Session = Schemas["SessionView"];

/** `undefined` until it is known. */
export const session = signal<Session | null | undefined>(undefined);
/** Why the reader has to sign in again; empty where they never were. */
export const ended = signal("");

const remembered = signal(localStorage.getItem("project") ?? "");

/** The project that is looked at: the address's, else the last one, else the first. */
export const project = computed(() => {
  const named = query.value.get("project");
  if (named) return named;
  const mine = session.value?.memberships.map((membership) => membership.project) ?? [];
  if (session.value?.operator || mine.includes(remembered.value)) return remembered.value || (mine[0] ?? "");
  return mine[0] ?? "";
});

export function choose(name: string): void {
  localStorage.setItem("project", name);
  remembered.value = name;
  setQuery({ project: null });
}

/** The role in that project; `operator` may do everything. */
export const role = computed(() => {
  if (session.value?.operator) return "operator";
  return session.value?.memberships.find((membership) => membership.project === project.value)?.role ?? "none";
});

export type Deed = "billing" | "keys" | "webhooks" | "audit" | "members" | "operate";

const ROLES: Record<Deed, string[]> = {
  billing: ["owner", "admin", "finance"],
  keys: ["owner", "admin"],
  webhooks: ["owner", "admin"],
  audit: ["owner", "admin"],
  members: ["owner"],
  operate: [],
};

/** Why the reader may not do that here; empty where they may. The server decides; this only says it before. */
export function whyNot(deed: Deed): string {
  const allowed = ROLES[deed];
  if (role.value === "operator" || allowed.includes(role.value)) return "";
  const who = allowed.length > 1 ? `${allowed.slice(0, -1).join(", ")} or ${allowed.at(-1)}` : (allowed[0] ?? "operator");
  return `Only ${who} may do this; you are ${role.value} of this project.`;
}

export function take(next: Session): void {
  csrf.value = next.csrf;
  ended.value = "";
  session.value = next;
}

/** By what people sign in here; `undefined` until it is known. */
export const ways = signal<Schemas["WaysView"] | undefined>(undefined);

/** The page of signing in is shown once this is known, so that nothing moves on it. */
async function findWays(): Promise<void> {
  try {
    ways.value ??= (await settle(api.GET("/api/v1/session/ways"))).data;
  } catch {
    // A password can be tried all the same, and says what is wrong.
    ways.value = { password: true, provider: null };
  }
}

signedOut.tell = (): void => {
  // Who was not signed in is not told so: `load` shows the page of signing in.
  const was = session.value;
  if (!was) return;
  void findWays().then(() => {
    if (session.value !== was) return;
    ended.value = "Your session has ended. Sign in again and you are back where you were.";
    session.value = null;
  });
};

/** Asks who is signed in. */
export async function load(): Promise<void> {
  try {
    take((await settle(api.GET("/api/v1/session"))).data);
  } catch (error) {
    if (!(error instanceof Refused) || error.problem.code !== "unauthorized") throw error;
    await findWays();
    session.value = null;
  }
}

export async function signOut(): Promise<void> {
  await settle(api.DELETE("/api/v1/session"));
  await findWays();
  session.value = null;
  ended.value = "You are signed out.";
}
