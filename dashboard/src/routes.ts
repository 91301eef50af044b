// Which page is at which path. The server answers the page at each of these, by their first word.
import type { ComponentType } from "preact";
import { Account } from "./pages/account";
import { Audit } from "./pages/audit";
import { CommandCenter } from "./pages/command-center";
import { ContractPage, Contracts } from "./pages/contracts";
import { Keys } from "./pages/keys";
import { LeaseMapPage } from "./pages/leases";
import { Members } from "./pages/members";
import { Missing } from "./pages/missing";
import { Accounts, Catalogue, ParkedPayments, ProjectPage, Projects, Quarantine } from "./pages/operator";
import { Plan } from "./pages/plan";
import { TopUp } from "./pages/top-up";
import { UsageReports } from "./pages/usage";
import { Endpoint, Webhooks } from "./pages/webhooks";
import { Why } from "./pages/why";

const PAGES: Record<string, ComponentType> = {
  "/": CommandCenter,
  "/sign-in": CommandCenter,
  "/sign-in/provider": CommandCenter,
  "/usage": UsageReports,
  "/why": Why,
  "/billing/plan": Plan,
  "/billing/top-up": TopUp,
  "/keys": Keys,
  "/webhooks": Webhooks,
  "/webhooks/*": Endpoint,
  "/members": Members,
  "/audit": Audit,
  "/account": Account,
  "/operator/projects": Projects,
  "/operator/projects/*": ProjectPage,
  "/operator/projects/*/leases": LeaseMapPage,
  "/operator/contracts": Contracts,
  "/operator/contracts/*": ContractPage,
  "/operator/plans": Catalogue,
  "/operator/stripe": ParkedPayments,
  "/operator/quarantine": Quarantine,
  "/operator/accounts": Accounts,
};

export function pageAt(path: string): ComponentType {
  const exact = PAGES[path];
  if (exact) return exact;
  const cut = path.lastIndexOf("/");
  const before = path.lastIndexOf("/", cut - 1);
  return PAGES[`${path.slice(0, cut)}/*`] ?? PAGES[`${path.slice(0, before)}/*${path.slice(cut)}`] ?? Missing;
}

/** What the path ends with, for pages that have a name in it. */
export const lastWord = (path: string): string => decodeURIComponent(path.slice(path.lastIndexOf("/") + 1));
