// What is being worked on, from everywhere, and the hardware it runs on.
import { copyFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { audio, clean, innocent, longSpeech, openHouse, scratch, signUp, url } from "./house.mjs";

let house, page;
const folder = scratch();
/** The same sound under another name: what is sent has a title of its own. */
const named = (name) => {
  copyFileSync(audio, join(folder, name));
  return join(folder, name);
};
const drawer = () => page.getByRole("dialog", { name: "Jobs" });
const job = (name) => drawer().getByRole("listitem").filter({ hasText: name });
const cancel = async (name) => {
  await job(name).getByRole("button", { name: `Cancel ${name}` }).click();
  await job(name).getByText("cancelled", { exact: true }).waitFor({ timeout: 60_000 });
};

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
  // Two at a time are worked on: the third waits however fast the machine is.
  for (const file of [longSpeech("first.wav", 15), longSpeech("second.wav", 15), named("third.flac")]) {
    await page.locator("#capture-file").setInputFiles(file);
    await page.getByRole("link", { name: basename(file).split(".")[0], exact: true }).waitFor({ timeout: 180_000 });
  }
  await page.getByRole("button", { name: /^Jobs, / }).click();
  await cancel("third");
  await clean(page, "jobs-drawer");
  await cancel("first");
  await cancel("second");
  await job("third").getByRole("button", { name: /: third$/ }).click();
  await job("third").getByText("done", { exact: true }).waitFor({ timeout: 180_000 });
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
