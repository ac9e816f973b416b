// From nothing to an answer about one's own voice note, on a phone, by keyboard alone: on a platform that has nobody yet.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PHONE, clean, innocent, openHouse, speaking, until, url } from "./house.mjs";

const PATIENCE = 240_000; // models on two busy cores
const PERSON_S = 120; // what a person may need; the platform's own work is counted apart
let house, page;
let waited = 0;

before(async () => {
  house = await openHouse({ args: speaking, context: { viewport: PHONE } });
  page = house.page;
  page.setDefaultTimeout(60_000);
});
after(async () => await house?.close());

/** By Tab until this has the focus; a page that cannot be walked through fails. */
async function tabTo(name, role = "*") {
  await page.getByText(name).first().waitFor();
  for (let tries = 0; tries < 60; tries++) {
    const here = await page.evaluate("(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent ?? '').trim()");
    const what = await page.evaluate("document.activeElement.matches('a') ? 'a' : document.activeElement.matches('button') ? 'button' : '*'");
    if (here.includes(name) && (role === "*" || role === what)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`Tab never comes to “${name}”`);
}

/** What the platform takes for itself is not the person's time. */
async function patiently(wait) {
  const began = Date.now();
  const found = await wait;
  waited += (Date.now() - began) / 1000;
  return found;
}

test("first run, voice note, question, answer: by keyboard alone", async () => {
  const began = Date.now();
  await patiently(page.goto(url));
  await patiently(page.getByRole("heading", { name: "Welcome to Nemo" }).waitFor());
  await until(page, "document.activeElement.name === 'username'");
  await page.keyboard.type("anna");
  await page.keyboard.press("Tab");
  await page.keyboard.type("a long enough pass phrase");
  await page.keyboard.press("Enter");

  await patiently(page.getByRole("heading", { name: "Welcome, anna" }).waitFor());
  await until(page, "document.activeElement.textContent.includes('Record a voice note')");
  await page.keyboard.press("Enter");

  await patiently(page.locator(".loose, .said-line").filter({ hasText: /\w/ }).first().waitFor({ timeout: PATIENCE }));
  await patiently(page.getByRole("log").getByText(/country/i).first().waitFor({ timeout: PATIENCE }));
  await until(page, "document.activeElement.textContent.includes('Stop and keep')");
  await page.keyboard.press("Enter");

  await patiently(page.waitForURL(/\/app\/recording\/rec_/, { timeout: PATIENCE }));
  await patiently(page.getByRole("main").getByText(/country/i).first().waitFor({ timeout: PATIENCE }));
  await patiently(indexed());
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type("ask");
  await page.getByRole("dialog").getByText("Ask", { exact: true }).waitFor();
  await page.keyboard.press("Enter");

  const field = page.getByLabel("Your question");
  await field.waitFor();
  await until(page, "document.activeElement.matches('textarea, input')");
  await page.keyboard.type("What should Americans ask about their country?");
  await page.keyboard.press("Enter");
  const chip = page.getByRole("button", { name: /\[1\]|Play/ }).first();
  await patiently(chip.waitFor({ timeout: PATIENCE }));
  const person = (Date.now() - began) / 1000 - waited;
  console.log(`first minutes: ${person.toFixed(1)} s of keys, ${waited.toFixed(1)} s of the platform's work`);
  assert.ok(person < PERSON_S, `a person would need ${person} s`);
});

/** The words are in the memory: the last stage of the job. */
async function indexed() {
  for (let tries = 0; tries < PATIENCE / 1000; tries++) {
    const jobs = await page.evaluate(`fetch("/auth/refresh", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })
      .then((answer) => answer.json()).then(({ access_token }) => fetch("/jobs", { headers: { Authorization: "Bearer " + access_token } })).then((answer) => answer.json())`);
    if (jobs.data.length > 0 && jobs.data.every((job) => job.state === "succeeded")) return;
    await page.waitForTimeout(1000);
  }
  assert.fail("the voice note was never put into the memory");
}

test("the note is the speaker's own, and plays", async () => {
  const chip = page.getByRole("button", { name: /\[1\]|Play/ }).first();
  await chip.focus();
  await page.keyboard.press("Enter");
  await until(page, "document.querySelector('audio').readyState > 1", 60);
});

test("the first steps are there for later, and are clean", async () => {
  await page.goto(`${url}/app/welcome`);
  await tabTo("Check it", "button");
  await page.keyboard.press("Enter");
  await page.getByText("It hears you.").waitFor();
  await clean(page, "welcome");
  await tabTo("Done", "button");
  await page.keyboard.press("Enter");
  await tabTo("Bring it in", "button");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "Read it" }).waitFor({ timeout: PATIENCE });
  await page.getByRole("link", { name: /What should a doctor do/ }).waitFor();
  await clean(page, "welcome-demo");
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
