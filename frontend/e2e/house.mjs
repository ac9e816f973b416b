// What every browser test needs: NEMO_URL (the gateway), NEMO_AUDIO (a recording), NEMO_SHOTS (a folder, optional).
// NEMO_SPEECH is a WAV for those that speak: `openHouse({ args: speaking })` puts it into the microphone, again and again.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

export const url = process.env.NEMO_URL;
export const audio = process.env.NEMO_AUDIO;
export const speaking = [`--use-file-for-fake-audio-capture=${process.env.NEMO_SPEECH}`];
export const PHONE = { width: 390, height: 844 };
export const WIDE = { width: 1100, height: 800 };
const shots = process.env.NEMO_SHOTS;
const password = "a long enough pass phrase";
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
  "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"];

/** A folder for files, which goes when this process ends. */
export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "nemo-story-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A WAV of so much speech, for what must take its time on any machine: a sentence again and again. */
export function longSpeech(name, minutes) {
  const sentence = readFileSync(join(dirname(audio), "librivox-sas-0870.wav"));
  const [header, sound] = [Buffer.from(sentence.subarray(0, 44)), sentence.subarray(44)];
  const whole = Buffer.concat(Array(Math.ceil((minutes * 60 * header.readUInt32LE(28)) / sound.length)).fill(sound));
  header.writeUInt32LE(36 + whole.length, 4);
  header.writeUInt32LE(whole.length, 40);
  const path = join(scratch(), name);
  writeFileSync(path, Buffer.concat([header, whole]));
  return path;
}

/** Until the sound has come so far; then it is silent. Its button says “Play” by itself at the end of a moment. */
export async function heardThenSilent(page, seconds = 0) {
  await until(page, `document.querySelector("audio").currentTime > ${seconds}`);
  await page.evaluate("document.querySelector('audio').pause()");
}

/** A page, and what it did that it must not: `violations` of the policy, `foreign` requests, `errors` nobody caught. */
export async function openHouse(options = {}) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...args, ...(options.args ?? [])] });
  const context = await browser.newContext({ viewport: WIDE, locale: "en-GB", colorScheme: "light", ...options.context });
  const page = await context.newPage();
  const house = { browser, context, page, violations: [], foreign: [], errors: [], close: () => browser.close() };
  page.setDefaultTimeout(60_000);
  page.on("console", (message) => /Content.Security.Policy/i.test(message.text()) && house.violations.push(message.text()));
  page.on("pageerror", (error) => house.errors.push(String(error)));
  page.on("request", (request) => /^https?:/.test(request.url()) && !request.url().startsWith(url) && house.foreign.push(request.url()));
  return house;
}

/** Nothing that it must not: call it last in every file. */
export function innocent({ violations, foreign, errors }) {
  assert.deepEqual({ violations, foreign, errors }, { violations: [], foreign: [], errors: [] });
}

/** A new account, made as a person makes it; its name comes back. */
export async function signUp(page, user = `page-${Date.now()}-${Math.floor(Math.random() * 1e6)}`) {
  await page.goto(url);
  await page.getByLabel("User name").waitFor();
  const other = page.getByRole("button", { name: "Make an account" });
  const first = page.getByRole("heading", { name: "Welcome to Nemo" });
  await first.or(other).first().waitFor();
  if (await other.isVisible()) await other.click();
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Make the account" }).click();
  // Who is the first here is shown round.
  const skip = page.getByRole("link", { name: "To the recordings" });
  await skip.or(page.getByRole("heading", { name: "Recordings", level: 1 })).first().waitFor();
  if (await skip.isVisible()) await skip.click();
  await page.getByRole("heading", { name: "Recordings", level: 1 }).waitFor();
  return user;
}

/** A recording by the file field of the home screen, until it is a transcript; its id comes back. */
export async function uploadRecording(page, file = audio) {
  const name = file.split("/").pop().replace(/\.\w+$/, "");
  await page.locator("input[type=file]").first().setInputFiles(file);
  const link = page.getByRole("link", { name, exact: true }).first();
  await link.waitFor();
  const card = page.getByRole("listitem").filter({ has: link }).first();
  await card.locator(".preview").waitFor({ timeout: 180_000 });
  return (await link.getAttribute("href")).split("/").pop();
}

/** Until the page says that it is so; `waitForFunction` would use eval, which the page's policy forbids. */
export async function until(page, expression, seconds = 60) {
  for (let tries = 0; tries < seconds * 10; tries++) {
    if (await page.evaluate(expression)) return;
    await page.waitForTimeout(100);
  }
  assert.fail(`never came true: ${expression}`);
}

/** Until a condition of the story itself is so, where `until` asks the page. */
export async function comes(condition, otherwise, seconds = 240) {
  for (const late = performance.now() + seconds * 1000; !(await condition()); await new Promise((later) => setTimeout(later, 100))) {
    assert.ok(performance.now() < late, otherwise);
  }
}

/** Both themes, wide and on a phone: `each(theme, width)` in every one of them, and back to light and wide. */
export async function everyLook(page, each) {
  for (const theme of ["light", "dark"]) {
    for (const size of [WIDE, PHONE]) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
      await page.setViewportSize(size);
      // The page follows the device a moment later; one who chose a theme keeps it.
      await until(page, `localStorage["nemo-theme"] in { light: 1, dark: 1 } || document.documentElement.dataset.mantineColorScheme === "${theme}"`);
      await page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(true))))");
      await each(theme, size.width);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WIDE);
}

/** What reaches beyond the edge of the page, and is not inside something that scrolls by itself. */
const BEYOND = `[...document.querySelectorAll("body *")]
  .filter((each) => each.getBoundingClientRect().right > innerWidth && !each.closest(".scroll"))
  .map((each) => each.outerHTML.slice(0, 120)).join("; ")`;

/** axe finds nothing on this screen in any look, and nothing scrolls sideways. */
export async function clean(page, name) {
  await everyLook(page, async (theme, width) => {
    // The tool is put in by the debugging protocol, which the page's policy does not govern.
    const found = await page.evaluate(`${axeSource}; axe.run(document, { runOnly: ${JSON.stringify(RULES)} })`);
    const worst = found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(", ")}`);
    assert.deepEqual(worst, [], `${name}, ${theme}, ${width} px`);
    const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
    if (wide > 0) assert.fail(`${name} scrolls sideways by ${wide} px at ${width} px: ${await page.evaluate(BEYOND)}`);
    if (shots) await shoot(page, shots, name, theme, width);
  });
}

export async function shoot(page, folder, name, theme, width) {
  await page.screenshot({ path: `${folder}/${name}-${theme}${width < 600 ? "-phone" : ""}.png` });
}
