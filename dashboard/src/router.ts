// Where the reader is: the address's path and query, as signals. The address is the one place that filters live in.
import { computed, signal } from "@preact/signals";

const here = signal(read());

function read(): { path: string; query: string } {
  return { path: location.pathname, query: location.search };
}

addEventListener("popstate", () => {
  here.value = read();
});

export const path = computed(() => here.value.path);
export const query = computed(() => new URLSearchParams(here.value.query));

/** Goes to an address of this page; the reader's back button leads back. */
export function go(address: string): void {
  if (address !== location.pathname + location.search) history.pushState(null, "", address);
  here.value = read();
  scrollTo(0, 0);
}

/** Changes parts of the query; those that are empty leave it. */
export function setQuery(change: Record<string, string | null>, options: { replace?: boolean } = {}): void {
  const next = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(change)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, value);
  }
  const text = next.toString();
  const address = location.pathname + (text ? `?${text}` : "");
  if (options.replace) history.replaceState(null, "", address);
  else if (address !== location.pathname + location.search) history.pushState(null, "", address);
  here.value = read();
}

/** Takes the fragment out of the address, so that a secret in it is not kept in the history. */
export function takeFragment(): string {
  const fragment = location.hash.slice(1);
  if (fragment) history.replaceState(null, "", location.pathname + location.search);
  return fragment;
}
