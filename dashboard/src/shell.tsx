// What surrounds every page: where one can go, in which project one is, and who one is.
import { useEffect, useState } from "preact/hooks";
import { useResource } from "./resource";
import { api, settle } from "./api";
import { foreign } from "./format";
import { path } from "./router";
import { choose, project, role, session, signOut } from "./session";
import { type Children, Do, Go } from "./ui/parts";

interface Place {
  to: string;
  name: string;
}

const PLACES: { title: string; places: Place[] }[] = [
  { title: "", places: [{ to: "/", name: "Command Center" }, { to: "/usage", name: "Usage Reports" }, { to: "/why", name: "Why denied?" }] },
  { title: "Billing", places: [{ to: "/billing/plan", name: "Plan" }, { to: "/billing/top-up", name: "Top-up" }] },
  {
    title: "Project",
    places: [
      { to: "/keys", name: "Keys" },
      { to: "/webhooks", name: "Webhooks" },
      { to: "/members", name: "Members" },
      { to: "/audit", name: "Audit log" },
    ],
  },
];

const OPERATOR: Place[] = [
  { to: "/operator/projects", name: "Projects" },
  { to: "/operator/contracts", name: "Contracts" },
  { to: "/operator/plans", name: "Plan catalogue" },
  { to: "/operator/stripe", name: "Parked payments" },
  { to: "/operator/quarantine", name: "Quarantine" },
  { to: "/operator/accounts", name: "Accounts" },
];

const isHere = (to: string): boolean => (to === "/" ? path.value === "/" : path.value.startsWith(to));

export function Shell({ children }: { children: Children }) {
  const [open, set] = useState(false);
  const here = path.value;
  useEffect(() => set(false), [here]);
  const who = session.value;
  return (
    <div class="shell">
      <a class="skip" href="#main">To the content</a>
      <header class="bar">
        <Go to="/" class="brand"><Mark />Palveron Meter</Go>
        <button type="button" class="menu" aria-expanded={open} aria-controls="side" onClick={() => set(!open)}>Menu</button>
      </header>
      <aside id="side" class={open ? "side open" : "side"} aria-label="Project and pages">
        <Go to="/" class="brand"><Mark />Palveron Meter</Go>
        <Projects />
        <nav aria-label="Pages">
          {PLACES.map(({ title, places }) => <Group key={title} title={title} places={places} />)}
          {who?.operator && <Group title="Operator" places={OPERATOR} />}
        </nav>
        <div class="who">
          <Go to="/account"><strong>{foreign(who?.name ?? "")}</strong></Go>
          <span class="soft">{role.value}</span>
          <Do act={signOut} tone="quiet">Sign out</Do>
        </div>
      </aside>
      <main id="main" class="main" tabIndex={-1}>{children}</main>
    </div>
  );
}

function Group({ title, places }: { title: string; places: Place[] }) {
  return (
    <div class="group">
      {title && <p class="group-title">{title}</p>}
      <ul>
        {places.map(({ to, name }) => (
          <li key={to}><Go to={to} class={isHere(to) ? "here" : ""} aria-current={isHere(to) ? "page" : undefined}>{name}</Go></li>
        ))}
      </ul>
    </div>
  );
}

/** A person's projects to choose from; an operator's are found under Projects. */
function Projects() {
  const mine = session.value?.memberships.map((membership) => membership.project) ?? [];
  const first = useResource(session.value?.operator && !project.value ? "first" : "", (signal) =>
    settle(api.GET("/api/v1/admin/projects", { signal })));
  const found = first.answer?.data.projects[0]?.id;
  useEffect(() => {
    if (found && !project.value) choose(found);
  }, [found]);
  const names = mine.includes(project.value) || !project.value ? mine : [project.value, ...mine];
  if (names.length < 2) {
    return <p class="project"><span class="label">Project</span><strong>{project.value || "none"}</strong></p>;
  }
  return (
    <label class="project">
      <span class="label">Project</span>
      <select value={project.value} onChange={(event) => choose(event.currentTarget.value)}>
        {names.map((name) => <option key={name} value={name}>{name}</option>)}
      </select>
    </label>
  );
}

export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
    <rect width="32" height="32" rx="7" />
    <path d="M7 23v-7M13 23V11M19 23v-9M25 23V8" />
  </svg>
);
