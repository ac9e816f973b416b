// What is being worked on, from everywhere, and the hardware it runs on.
import { copyFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { audio, clean, innocent, openHouse, signUp, url } from "./house.mjs";

let house, page;
const folder = mkdtempSync(join(tmpdir(), "nemo-jobs-"));
/** The same sound under another name: what is sent has a title of its own. */
const named = (name) => {
  copyFileSync(audio, join(folder, name));
  return join(folder, name);
};
const send = (...names) => page.locator("#capture-file").setInputFiles(names.map(named));
const drawer = () => page.getByRole("dialog", { name: "Jobs" });

before(async () => {
  house = await openHouse();
  page = house.page;
  await signUp(page);
});
after(async () => await house?.close());

test("nothing at work says so and leads on", async () => {
  await page.keyboard.press("Alt+j");
  await drawer().getByText("Nothing is at work").waitFor();
  await clean(page, "jobs-drawer-empty");
  await page.keyboard.press("Escape");
  await drawer().waitFor({ state: "hidden" });
});

test("the drawer follows the work, cancels it and goes on from its stage", async () => {
  await send("first.flac", "second.flac", "third.flac");
  await page.getByRole("link", { name: "third", exact: true }).waitFor();
  await page.getByRole("button", { name: /^Jobs, / }).click();
  const third = drawer().getByRole("listitem").filter({ hasText: "third" });
  await third.waitFor();
  await clean(page, "jobs-drawer");
  await third.getByRole("button", { name: "Cancel third" }).click();
  await third.getByText("cancelled", { exact: true }).waitFor({ timeout: 60_000 });
  await third.getByRole("button", { name: /: third$/ }).click();
  await third.getByText("done", { exact: true }).waitFor({ timeout: 180_000 });
});

test("a job leads to its recording", async () => {
  await drawer().getByRole("link", { name: "third" }).click();
  await page.getByRole("heading", { name: "third", level: 1 }).waitFor();
  await drawer().waitFor({ state: "hidden" });
});

test("the page shows jobs and hardware, live", async () => {
  await page.goto(`${url}/app/jobs`);
  await page.getByText("Waiting line").waitFor();
  await page.getByText(/No GPU: everything runs on the CPU|graphics card/).first().waitFor();
  await page.locator(".chart canvas").first().waitFor();
  await clean(page, "jobs");
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Show what is being worked on").waitFor();
  await page.keyboard.press("Escape");
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
