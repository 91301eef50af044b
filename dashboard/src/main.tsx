// The page: it takes what the address brought, asks who is signed in, and shows the page that the path names.
import { render } from "preact";
import { signal } from "@preact/signals";
import "./style.css";
import { type Problem, problemOf } from "./api";
import { BACK, brought, SignIn } from "./pages/sign-in";
import { pageAt } from "./routes";
import { path, takeFragment } from "./router";
import { load, project, session } from "./session";
import { Shell } from "./shell";
import { Skeleton, Trouble } from "./ui/parts";

const trouble = signal<Problem | null>(null);

function App() {
  if (trouble.value) return <main class="door"><div class="door-card"><Trouble problem={trouble.value} again={begin} /></div></main>;
  if (session.value === undefined) return <main class="door"><div class="door-card"><Skeleton lines={3} /></div></main>;
  if (session.value === null || brought.link || brought.invitation || brought.provider) return <SignIn />;
  const Shows = pageAt(path.value);
  return <Shell><Shows key={`${path.value} ${project.value}`} /></Shell>;
}

function begin(): void {
  trouble.value = null;
  load().catch((error: unknown) => {
    trouble.value = problemOf(error);
  });
}

const fragment = new URLSearchParams(takeFragment());
brought.link = fragment.get("link") ?? "";
brought.invitation = fragment.get("invitation") ?? "";
if (location.pathname === BACK && location.search) {
  brought.provider = new URLSearchParams(location.search);
  history.replaceState(null, "", BACK);
}
const place = document.getElementById("page");
if (place) render(<App />, place);
begin();
