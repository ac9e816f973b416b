// The recording page, heard and read: while it is made, its picture, its words, following.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { clean, innocent, longSpeech, openHouse, signUp, until, uploadRecording, url, WIDE } from "./house.mjs";

const demo = fileURLToPath(new URL("../../services/cli/demo.ogg", import.meta.url));
let house, page, id;
const ranges = [];

before(async () => {
  house = await openHouse();
  page = house.page;
  page.on("response", (answer) => /\/audio\?link=/.test(answer.url()) && ranges.push(answer.status()));
  await signUp(page);
});
after(async () => await house?.close());

const word = (text) => page.locator(".word").filter({ hasText: new RegExp(`^${text}$`) }).first();

test("while it is made: how far it is; cancelled, it goes on from there", async () => {
  await page.locator("input[type=file]").first().setInputFiles(longSpeech("long.wav", 15));
  await page.getByRole("link", { name: "long", exact: true }).click({ timeout: 180_000 });
  const work = page.locator("article .working");
  await work.getByRole("progressbar", { name: "Progress of long" }).waitFor();
  for (const goOn of [true, false]) {
    await work.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Cancelled. What was done is kept", { exact: false }).waitFor({ timeout: 180_000 });
    if (goOn) await page.getByRole("button", { name: "Go on from there" }).click();
  }
});

test("what is done is read as a whole", async () => {
  await page.goto(`${url}/app/`);
  id = await uploadRecording(page, demo);
  await page.goto(`${url}/app/recording/${id}`);
  await page.getByRole("tab", { name: "Summary" }).waitFor();
  await word("Margaret").waitFor();
  await page.locator(".working").waitFor({ state: "detached" });
});

test("a picture of the sound, who speaks when, and how it sounded in words too", async () => {
  await page.locator(".wave path").first().waitFor({ state: "attached" });
  await until(page, "document.querySelector('.wave path').getAttribute('d').length > 1000");
  assert.ok((await page.locator(".lane .speaker").count()) >= 2);
  await page.getByText(/^In words: mostly/).click();
  await page.getByText(/^clearest at/).first().waitFor();
  await clean(page, "recording");
  await page.getByText(/^In words: mostly/).click();
});

test("click a word to hear it: only a part of the file is fetched", async () => {
  await word("guests").click();
  await until(page, "document.querySelector('audio').currentTime > 2 && !document.querySelector('audio').paused");
  await page.locator(".word.heard").waitFor();
  assert.ok(ranges.length && ranges.every((status) => status === 206), `answers: ${ranges}`);
  await page.getByRole("button", { name: "Pause" }).click();
  const play = page.getByRole("button", { name: "Play", exact: true });
  await play.first().waitFor();
  assert.equal(await play.count(), 1); // one player in sight
});

test("the picture is a slider for keys", async () => {
  await page.getByRole("slider", { name: "Place in the recording" }).first().focus();
  await until(page, "!document.querySelector('audio').seeking"); // the jump before this one has come to its end
  await page.keyboard.press("Home");
  await until(page, "document.querySelector('audio').currentTime < 0.05");
  await page.keyboard.press("ArrowRight");
  await until(page, "document.querySelector('audio').currentTime > 0.05");
});

test("an address of the sound that has run out is renewed, on from the same second", async () => {
  await word("guests").click();
  await until(page, "document.querySelector('audio').currentTime > 2");
  await page.evaluate("document.querySelector('audio').src = location.origin + '/transcription/' + location.pathname.split('/').pop() + '/audio?link=run-out'");
  await until(page, "!document.querySelector('audio').src.includes('run-out') && document.querySelector('audio').readyState > 0");
  await page.getByRole("alert").filter({ hasText: "cannot be played" }).waitFor({ state: "detached" });
});

test("it follows the voice until the reader scrolls, and again by a click", async () => {
  await page.setViewportSize({ width: 1000, height: 520 });
  await page.goto(`${url}/app/recording/${id}?t=40`);
  await page.locator(".word.heard").waitFor();
  await until(page, "document.querySelector('audio').currentTime > 40.5");
  await until(page, "(() => { const at = document.querySelector('.word.heard')?.getBoundingClientRect(); return at && at.top > 0 && at.bottom < innerHeight })()");
  assert.equal(await page.getByRole("button", { name: "Jump to current word" }).count(), 0);
  await page.mouse.move(500, 400);
  await page.mouse.wheel(0, -3000);
  const jump = page.getByRole("button", { name: "Jump to current word" });
  await jump.click();
  await jump.waitFor({ state: "detached" });
  await until(page, "(() => { const at = document.querySelector('.word.heard')?.getBoundingClientRect(); return at && at.top > 0 && at.bottom < innerHeight })()");
  await page.getByRole("button", { name: "Pause" }).click();
  await page.setViewportSize(WIDE);
});

test("select by mouse does not play", async () => {
  await page.goto(`${url}/app/recording/${id}`);
  const [from, to] = [await word("could").boundingBox(), await word("watching").boundingBox()];
  await page.mouse.move(from.x + 2, from.y + from.height / 2);
  await page.mouse.down();
  await page.mouse.move(to.x + to.width - 2, to.y + to.height / 2, { steps: 6 });
  await page.mouse.up();
  await page.getByRole("toolbar", { name: "4 selected words" }).waitFor();
  assert.ok(await page.evaluate("document.querySelector('audio').paused"));
  await page.keyboard.press("Escape");
  await page.getByRole("toolbar").waitFor({ state: "detached" });
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
