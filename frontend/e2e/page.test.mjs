// The page against the running stack: NEMO_URL (the gateway), NEMO_AUDIO (a recording), NEMO_SHOTS (a folder, optional).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

const url = process.env.NEMO_URL;
const audio = process.env.NEMO_AUDIO;
const shots = process.env.NEMO_SHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];
const user = `page-${Date.now()}`;
const password = "a long enough pass phrase";

let browser, page;
const violations = [];
const foreign = [];

before(async () => {
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args });
  page = await open({ colorScheme: "light" });
});
after(async () => await browser?.close());

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1100, height: 800 }, bypassCSP: false, ...options });
  const made = await context.newPage();
  made.setDefaultTimeout(15_000);
  made.on("console", (message) => /Content.Security.Policy/i.test(message.text()) && violations.push(message.text()));
  made.on("request", (request) => /^https?:/.test(request.url()) && !request.url().startsWith(url) && foreign.push(request.url()));
  return made;
}

/** Until the page says that it is so; `waitForFunction` would use eval, which the page's policy forbids. */
async function until(expression) {
  for (let tries = 0; tries < 150; tries++) {
    if (await page.evaluate(expression)) return;
    await page.waitForTimeout(100);
  }
  assert.fail(`never came true: ${expression}`);
}

/** axe on this screen in both themes, at this width and a phone's. */
async function clean(name) {
  for (const theme of ["light", "dark"]) {
    for (const width of [1100, 375]) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
      await page.setViewportSize({ width, height: 800 });
      // The tool is put in by the debugging protocol, which the page's policy does not govern.
      const found = await page.evaluate(`${axe}; axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] })`);
      const worst = found.violations.map((each) => `${each.id}: ${each.nodes.map((node) => node.target).join(", ")}`);
      assert.deepEqual(worst, [], `${name}, ${theme}, ${width} px`);
      const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      assert.ok(wide <= 0, `${name} scrolls sideways by ${wide} px at ${width} px`);
      if (shots) await page.screenshot({ path: `${shots}/${name}-${theme}${width < 500 ? "-phone" : ""}.png` });
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1100, height: 800 });
}

test("make an account and come in", async () => {
  await page.goto(url);
  await page.getByLabel("User name").waitFor();
  await clean("sign-in");
  const first = await page.getByRole("heading", { name: "Welcome to Nemo" }).isVisible();
  if (!first) {
    await page.getByLabel("User name").fill("nobody-here");
    await page.getByLabel("Password").fill("wrong wrong wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The user name or the password is wrong.").waitFor();
    await page.getByRole("button", { name: "Make an account" }).click();
  }
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.getByRole("heading", { name: "Recordings" }).waitFor();
  await page.getByText("Nothing here yet").waitFor();
  await clean("home-empty");
});

test("drop a file, see it become a transcript", async () => {
  await page.locator("input[type=file]").setInputFiles(audio);
  await page.getByRole("progressbar").first().waitFor();
  await page.getByRole("link", { name: "jfk" }).waitFor();
  await page.getByText("ask what you can do", { exact: false }).waitFor({ timeout: 120_000 });
  await clean("home");
});

test("what is no audio says why", async () => {
  await page.locator("input[type=file]").setInputFiles({ name: "no.wav", mimeType: "audio/wav", buffer: Buffer.from("no audio") });
  await page.getByText("not a kind of audio", { exact: false }).first().waitFor({ timeout: 60_000 }).catch(async () => {
    await page.getByText(/no\.wav|could not be|audio/i).first().waitFor();
  });
  await page.getByRole("button", { name: "Delete no" }).click();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("button", { name: "Delete no" }).waitFor();
});

test("click a word to hear it", async () => {
  await page.getByRole("link", { name: "jfk" }).click();
  await page.locator("audio").waitFor();
  await page.getByRole("button", { name: "country", exact: true }).first().click();
  await until("document.querySelector('audio').currentTime > 1");
  await page.locator(".word.heard").waitFor();
  await page.locator("audio").evaluate((element) => element.pause());
  await clean("recording");
});

test("search plays its moment", async () => {
  await page.getByRole("link", { name: "Search" }).click();
  await page.getByRole("searchbox").fill("duty of a citizen");
  await page.keyboard.press("Enter");
  const play = page.getByRole("link", { name: /Play from/ }).first();
  await play.waitFor();
  await clean("search");
  await play.click();
  await page.locator("audio").waitFor();
});

test("ask, and play the evidence", async () => {
  await page.getByRole("link", { name: "Ask" }).click();
  await page.getByLabel("Your question").fill("What should Americans ask about their country?");
  await page.keyboard.press("Enter");
  const chip = page.getByRole("button", { name: /\[1\].* at 0:0/ });
  await chip.waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "Ask", exact: true }).waitFor({ timeout: 120_000 });
  await chip.click();
  await until("document.querySelector('.chip audio') && document.querySelector('.chip audio').readyState > 1");
  await clean("ask");
});

test("the session outlives a reload; signing out ends it", async () => {
  await page.reload();
  await page.getByRole("heading", { name: "Ask", exact: true }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("User name").waitFor();
  await page.reload();
  await page.getByLabel("User name").waitFor();
});

test("no violation of the policy, no request to anybody else", () => {
  assert.deepEqual(violations, []);
  assert.deepEqual(foreign, []);
});
