// The documentation in a real browser: its policy lets every page work, search included, and nothing is refused.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const told = JSON.parse(process.env.METER_DOCS);
const require = createRequire(join(told.tools, "package.json"));
const { chromium } = require("playwright-core");

/** Generous, because the machine is shared; nothing waits this long where it works. */
const SOON = 30_000;

// Root has no sandbox of its own to give away.
const browser = await chromium.launch({ executablePath: told.chromium, args: ["--no-sandbox"] });
try {
  const page = await (await browser.newContext({ locale: "en-GB" })).newPage();
  page.setDefaultTimeout(SOON);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  // What a policy refuses is an error on the console.
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));

  await page.goto(`${told.meter}/docs/`);
  await page.getByRole("heading", { level: 1, name: "Palveron Meter" }).first().waitFor();
  await page.locator("#mdbook-sidebar a, .sidebar a").getByText("Runbook").first().waitFor();
  await page.keyboard.press("s");
  const hit = page.locator("#mdbook-searchresults a, #searchresults a").filter({ hasText: "quota_exhausted" }).first();
  // What is typed before the index has arrived finds nothing, and is typed again.
  const words = page.locator("input[type=search]");
  for (const begun = Date.now(); !(await hit.isVisible()) && Date.now() < begun + 2 * SOON; ) {
    await words.fill("");
    await words.pressSequentially("quota_exhausted");
    await hit.waitFor({ timeout: 3_000 }).catch(() => {});
  }
  await hit.click();
  await page.getByRole("heading", { level: 1, name: "quota_exhausted" }).waitFor();
  await page.getByRole("link", { name: /Next chapter/ }).first().click();
  await page.getByRole("heading", { level: 1, name: "rate_limited" }).waitFor();
  await page.goto(`${told.meter}/docs/runbook/ledger-imbalance`);
  await page.getByRole("heading", { level: 1, name: "The ledger does not balance" }).waitFor();
  assert.deepEqual(errors, []);
  console.log("the documentation works in a browser");
} finally {
  await browser.close();
}
