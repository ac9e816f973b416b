// The recording page, changed: words put right, passages kept, voices named, cuts, titles; and each of it taken back.
import assert from "node:assert/strict";
import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { clean, comes, heardThenSilent, innocent, openHouse, PHONE, scratch, signUp, until, uploadRecording, url, WIDE } from "./house.mjs";

const demo = fileURLToPath(new URL("../../services/cli/demo.ogg", import.meta.url));
let house, page, id;

before(async () => {
  house = await openHouse();
  page = house.page;
  await house.context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
  await signUp(page);
  id = await uploadRecording(page, demo);
});
after(async () => await house?.close());

const word = (text) => page.locator(".word").filter({ hasText: new RegExp(`^${text}$`) }).first();
const undo = () => page.getByRole("button", { name: "Undo", exact: true }).last().click();
const toast = (text) => page.locator("[role=alert]").filter({ hasText: text }).last().waitFor();
const tab = (name) => page.getByRole("tab", { name }).click();
const closeToasts = async () => {
  for (const close of await page.getByRole("alert").getByRole("button", { name: "Close" }).all()) await close.click().catch(() => undefined);
};

test("doubtful words: through them by keys, put right, and back", async () => {
  await page.goto(`${url}/app/recording/${id}`);
  await page.getByRole("button", { name: /^Check \d+ doubtful/ }).click();
  const field = page.getByRole("form", { name: "Correct a word" }).getByRole("textbox");
  const old = await field.inputValue();
  await clean(page, "recording-fix");
  await house.context.setOffline(true);
  await field.fill("Zanzibar");
  await page.keyboard.press("Enter");
  await toast("does not answer");
  assert.equal(await field.inputValue(), "Zanzibar"); // nothing typed is lost
  await house.context.setOffline(false);
  await page.keyboard.press("Enter");
  await toast(`“${old}” is now “Zanzibar”`);
  await until(page, "[...document.querySelectorAll('.word')].some((each) => each.textContent.includes('Zanzibar'))");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Escape");
  await field.waitFor({ state: "detached" });
  await undo();
  await word("Zanzibar").waitFor({ state: "detached" });
});

test("select by keys: remember with its moment, sound, text, link", async () => {
  await closeToasts();
  await word("Margaret").focus();
  for (let n = 0; n < 3; n++) await page.keyboard.press("Shift+ArrowRight");
  const bar = page.getByRole("toolbar", { name: "4 selected words" });
  await bar.waitFor();
  await clean(page, "recording-select");
  const sound = page.waitForEvent("download");
  await bar.getByRole("button", { name: "Save as sound" }).click();
  const bytes = readFileSync(await (await sound).path());
  assert.equal(bytes.subarray(0, 4).toString(), "RIFF");
  assert.ok(bytes.length > 16_000 && bytes.length < 16_000 * 2 * 4, `${bytes.length} bytes`);
  const text = page.waitForEvent("download");
  await bar.getByRole("button", { name: "Save as text" }).click();
  assert.match(readFileSync(await (await text).path(), "utf8"), /^Margaret said Mr\. Hale,?\n$/);
  await bar.getByRole("button", { name: "Copy link" }).click();
  await until(page, "navigator.clipboard.readText().then((text) => /\\?t=\\d/.test(text))");
  await bar.getByRole("button", { name: "Remember" }).click();
  await toast("Kept as a memory");
  await page.keyboard.press("Escape");
  await tab("Memories");
  await page.getByRole("tabpanel").getByText("Margaret said Mr. Hale", { exact: false }).waitFor();
  await clean(page, "recording-memories");
  await closeToasts();
  await page.getByRole("button", { name: "Forget" }).click();
  await page.getByText("Nothing remembered yet").waitFor();
  await undo();
  await page.getByRole("button", { name: "Forget" }).waitFor();
});

test("cut a turn in two, correct its text, join it again; each can be taken back", async () => {
  const first = () => page.locator(".turn p").first().innerText();
  await tab("Transcript");
  await word("guests").click();
  await heardThenSilent(page, 2);
  const before = await first();
  await page.getByRole("button", { name: "What to do with the turn at 0:00" }).click();
  await page.getByRole("button", { name: "Cut before “guests”" }).click();
  await toast("Cut in two");
  await comes(async () => (await first()) !== before, "it was not cut", 60);
  await page.getByRole("button", { name: "What to do with the turn at 0:00" }).click();
  await page.getByRole("button", { name: "Correct the text" }).click();
  await page.getByLabel("What is said here").fill("שלום Margaret <img src=x onerror=alert(1)>");
  await page.keyboard.press("Control+Enter");
  await toast("Text corrected");
  await until(page, "getComputedStyle(document.querySelector('.turn p')).direction === 'rtl'");
  await undo();
  await word("Margaret").waitFor();
  await until(page, "getComputedStyle(document.querySelector('.turn p')).direction === 'ltr'");
  await page.getByRole("button", { name: "What to do with the turn at 0:00" }).click();
  await page.getByRole("button", { name: "Join with the next" }).click();
  await toast("Joined");
  await comes(async () => (await first()) === before, "it was not joined", 60);
  await tab("Changes");
  await page.getByText("Cut in two").first().waitFor();
  await clean(page, "recording-changes");
});

test("a summary: what it is made of, and each statement plays and shows what bears it out", async () => {
  await closeToasts();
  await tab("Summary");
  await page.getByRole("button", { name: "Summarise" }).click();
  await page.getByText(/^Made of \d+/).waitFor();
  const claim = page.locator(".claim").first();
  await claim.getByRole("button", { name: "borne out" }).click();
  await claim.locator("blockquote").waitFor();
  await claim.getByRole("button", { name: /^Play from/ }).first().click();
  await heardThenSilent(page);
  await clean(page, "recording-summary");
});

test("name a voice once: see what changes here and earlier, apply, undo", async () => {
  await page.goto(`${url}/app/`);
  const later = join(scratch(), "later.ogg");
  copyFileSync(demo, later);
  const again = await uploadRecording(page, later);
  await page.goto(`${url}/app/recording/${again}`);
  await tab("Speakers");
  await page.getByRole("button", { name: "Name SPEAKER_00" }).click();
  await page.getByRole("combobox", { name: "Who is Speaker 1?" }).fill("Margaret Hale");
  await page.getByRole("button", { name: "Show what changes" }).click();
  await page.getByText("“Speaker 1” becomes “Margaret Hale”").waitFor();
  await page.getByRole("checkbox", { name: "demo" }).first().waitFor();
  await clean(page, "recording-naming");
  await page.getByRole("button", { name: "Apply" }).click();
  await toast("Named Margaret Hale, here and in 1 earlier recording");
  await page.locator(".lane .speaker", { hasText: "Margaret Hale" }).waitFor();
  await page.goto(`${url}/app/recording/${id}`);
  await page.locator(".lane .speaker", { hasText: "Margaret Hale" }).waitFor();
});

test("a name is taken back", async () => {
  await tab("Speakers");
  await page.getByRole("button", { name: "Rename Margaret Hale" }).click();
  await page.getByRole("combobox", { name: "Who is Speaker 1?" }).fill("محمد");
  await page.getByRole("button", { name: "Show what changes" }).click();
  await page.getByRole("button", { name: "Apply" }).click();
  await page.locator(".lane .speaker", { hasText: "محمد" }).waitFor();
  await undo();
  await page.locator(".lane .speaker", { hasText: "Margaret Hale" }).waitFor();
});

test("title and tags, with undo; a title that would be a tag of HTML is only a title", async () => {
  await closeToasts();
  await page.getByRole("button", { name: "Rename", exact: true }).click();
  await page.getByLabel("Title").fill("<img src=x onerror=alert(1)>");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "<img src=x onerror=alert(1)>", level: 1 }).waitFor();
  await undo();
  await page.getByRole("heading", { name: "demo", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Add a tag" }).click();
  await page.getByLabel("New tag").fill("Milton");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Remove the tag Milton" }).waitFor();
});

test("two tabs: the older state does not overwrite the newer one", async () => {
  const other = await house.context.newPage();
  await other.goto(`${url}/app/recording/${id}`);
  await other.getByRole("button", { name: "Remove the tag Milton" }).waitFor();
  await page.getByRole("button", { name: "Remove the tag Milton" }).click();
  await toast("Tag “Milton” removed");
  await other.getByRole("button", { name: "Rename", exact: true }).click();
  await other.getByLabel("Title").fill("From an old tab");
  await other.keyboard.press("Enter");
  await other.locator("[role=alert]").filter({ hasText: /chang/i }).first().waitFor();
  await other.close();
});

test("export, delete, and back again", async () => {
  await closeToasts();
  const file = page.waitForEvent("download");
  await page.getByLabel("Export…").selectOption("srt");
  assert.match(readFileSync(await (await file).path(), "utf8"), /00:00:0\d,\d+ --> /);
  await page.getByRole("button", { name: "Delete this recording" }).click();
  await page.getByRole("heading", { name: "Recordings", level: 1 }).waitFor();
  await undo();
  await page.getByRole("heading", { name: "demo", level: 1 }).waitFor();
});

test("on a phone everything is there, a tab each", async () => {
  await page.setViewportSize(PHONE);
  await page.getByRole("tab", { name: "Transcript" }).waitFor();
  await word("guests").waitFor();
  await tab("Speakers");
  await page.getByRole("button", { name: "Rename Margaret Hale" }).waitFor();
  await page.setViewportSize(WIDE);
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
