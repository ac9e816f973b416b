// The timeline, and files on their way: a closed tab, a broken line, wrong files, what other apps share.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { audio, clean, innocent, openHouse, signUp, until, url } from "./house.mjs";

const PATIENCE = 180_000;
const TUS = "**/transcription/uploads/**";
let house, page;
before(async () => {
  house = await openHouse();
  page = house.page;
  page.setDefaultTimeout(60_000);
  await signUp(page);
});
after(async () => await house?.close());

const choose = (files) => page.locator("input[type=file]").first().setInputFiles(files);
const named = (name) => ({ name, mimeType: "audio/flac", buffer: readFileSync(audio) });
const shelf = `new Promise((resolve, reject) => {
  const opening = indexedDB.open("nemo-uploads", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("files", { keyPath: "key" });
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const all = opening.result.transaction("files").objectStore("files").getAll();
    all.onsuccess = () => { resolve(all.result.map((each) => each.name)); opening.result.close(); };
  };
})`;

test("nothing yet says what to do", async () => {
  await page.getByText("Nothing here yet").waitFor();
  await clean(page, "home-empty");
});

test("a file that cannot work is told before a byte of it is sent", async () => {
  let sent = 0;
  page.on("request", (request) => (sent += Number(request.url().includes("/transcription/uploads"))));
  await choose({ name: "letter.pdf", mimeType: "application/pdf", buffer: Buffer.from("%PDF") });
  await page.getByText("letter.pdf was not uploaded").waitFor();
  await page.getByText("This is not a recording", { exact: false }).waitFor();
  await choose({ name: "empty.wav", mimeType: "audio/wav", buffer: Buffer.alloc(0) });
  await page.getByText("The file is empty.", { exact: false }).waitFor();
  await page.evaluate(`(() => {
    const big = new File(["x"], "four gigabytes.mp4", { type: "video/mp4" });
    Object.defineProperty(big, "size", { value: 4 * 2 ** 30 });
    const drop = new Event("drop", { bubbles: true, cancelable: true });
    Object.defineProperty(drop, "dataTransfer", { value: { files: [big] } });
    document.querySelector(".drop").dispatchEvent(drop);
  })()`);
  await page.getByText(/The file has 4\.3 GB, and this server takes/).waitFor();
  assert.equal(sent, 0);
  await clean(page, "home-wrong");
  for (let left = 3; left > 0; left--) await page.getByRole("button", { name: "Remove" }).first().click();
  await page.getByText("was not uploaded").first().waitFor({ state: "detached" });
});

test("an upload outlives a closed tab", async () => {
  await page.route(TUS, (route) => (route.request().method() === "PATCH" ? route.abort("connectionreset") : route.continue()));
  await choose(named("closed tab.flac"));
  await page.getByText("The server does not answer. It goes on by itself.").waitFor();
  await until(page, `${shelf}.then((names) => names.includes("closed tab.flac"))`);
  await clean(page, "home-waiting");
  await page.close();
  page = house.page = await house.context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${url}/app/search`); // it goes on whatever screen is shown
  await until(page, `${shelf}.then((names) => names.length === 0)`, 120);
  await page.goto(`${url}/app`);
  await page.getByRole("link", { name: "closed tab", exact: true }).waitFor();
  await page.getByRole("heading", { name: "Today" }).waitFor();
});

test("a line that breaks in the middle goes on where it was", async () => {
  let pieces = 0;
  await page.route(TUS, (route) => (route.request().method() === "PATCH" && ++pieces === 2 ? route.abort("connectionreset") : route.continue()));
  await choose(named("broken line.flac"));
  await page.getByRole("link", { name: "broken line", exact: true }).waitFor({ timeout: 120_000 });
  assert.ok(pieces > 2, `${pieces} pieces`);
  await page.unroute(TUS);
});

test("cancelled, taken back, cancelled for good", async () => {
  await page.route(TUS, (route) => (route.request().method() === "PATCH" ? route.abort("connectionreset") : route.continue()));
  await choose(named("regret.flac"));
  const row = page.getByRole("list", { name: "On the way" }).getByText("regret.flac");
  await row.waitFor();
  await page.getByRole("button", { name: "Cancel" }).first().click();
  await row.waitFor({ state: "detached" });
  const told = page.getByRole("alert").filter({ hasText: "regret.flac will not" });
  await page.getByRole("button", { name: "Undo" }).click();
  await row.waitFor();
  await told.waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Cancel" }).first().click();
  await told.getByRole("button", { name: "Close" }).click();
  await until(page, `${shelf}.then((names) => names.length === 0)`);
  await page.unroute(TUS);
});

test("what another app shares is sent", async () => {
  await until(page, "navigator.serviceWorker.controller !== null", 60);
  const bytes = readFileSync(audio).toString("base64");
  await page.evaluate(`(async () => {
    const form = document.createElement("form");
    Object.assign(form, { method: "POST", action: "/app/share", enctype: "multipart/form-data" });
    const input = Object.assign(document.createElement("input"), { type: "file", name: "recording" });
    const bytes = Uint8Array.from(atob("${bytes}"), (each) => each.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], "geteilt – משותף.flac", { type: "audio/flac" }));
    input.files = files.files;
    form.append(input);
    document.body.append(form);
    form.submit();
  })()`);
  await page.getByRole("link", { name: "geteilt – משותף", exact: true }).waitFor({ timeout: PATIENCE });
  assert.ok(!page.url().includes("share"));
});

test("the timeline is clean while work is done and after", async () => {
  await clean(page, "home");
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
