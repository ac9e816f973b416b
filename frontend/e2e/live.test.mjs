// Listening live, with speech in the microphone: words that settle, a broken line, a reload, no microphone.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clean, comes, innocent, openHouse, signUp, speaking, until, url } from "./house.mjs";

const PATIENCE = 240_000;
const BYTES_PER_S = 32_000; // 16 kHz, 16 bits
let house, page, sockets;
before(async () => {
  house = await openHouse({ args: speaking });
  page = house.page;
  page.setDefaultTimeout(60_000);
  sockets = [];
  await page.routeWebSocket(/transcription\/stream/, (socket) => {
    const server = socket.connectToServer();
    const seen = { socket, sent: 0, from: null, finals: [], started: null, firstPartial: null };
    sockets.push(seen);
    socket.onMessage((message) => {
      if (typeof message !== "string") {
        seen.sent += message.length;
        seen.started ??= performance.now();
      }
      server.send(message);
    });
    server.onMessage((message) => {
      const event = JSON.parse(message);
      if (event.type === "ready") seen.from = event.audio_ms;
      if (event.type === "partial") seen.firstPartial ??= performance.now();
      if (event.type === "final") seen.finals.push(event);
      socket.send(message);
    });
  });
  await signUp(page);
});
after(async () => await house?.close());

const seconds = (bytes) => bytes / BYTES_PER_S;

async function heardSeconds() {
  const [minutes, rest] = (await page.getByRole("timer").innerText()).split(":").map(Number);
  return 60 * minutes + rest;
}

test("the first words on the screen, as soon as the server tells them", async () => {
  await page.getByRole("link", { name: "Live" }).first().click();
  await page.getByText("Words while they are spoken").waitFor();
  await clean(page, "live-begin");
  await page.getByRole("button", { name: "Start listening" }).click();
  // A platform that has fallen behind tells no partials; then the first final is what a person sees first.
  await page.locator(".loose, .said-line").filter({ hasText: /\w/ }).first().waitFor({ timeout: PATIENCE });
  const shown = performance.now();
  const [{ started, firstPartial }] = sockets;
  if (firstPartial) console.log(`microphone to first partial on screen ${((shown - started) / 1000).toFixed(2)} s, server ${((firstPartial - started) / 1000).toFixed(2)} s, ratio ${((shown - started) / (firstPartial - started)).toFixed(2)}`);
  await page.getByRole("log").getByText(/country/i).first().waitFor({ timeout: PATIENCE });
  await clean(page, "live");
});

test("the line breaks; nothing is lost and no word stands twice", async () => {
  await page.route("**/auth/ticket", (route) => route.abort()); // no way back for now
  const [before] = sockets;
  await before.socket.close({ code: 4000 });
  await page.getByText("The line is broken. Keep talking").waitFor();
  const brokenAt = await heardSeconds();
  while (await heardSeconds() < brokenAt + 3) await page.waitForTimeout(100);
  await page.unroute("**/auth/ticket");
  await page.getByRole("status").getByText("listening").waitFor({ timeout: PATIENCE });
  const again = sockets.at(-1);
  await comes(async () => (await heardSeconds()) - 1 <= again.from / 1000 + seconds(again.sent), "what was heard meanwhile was not sent");

  // The microphone says the same again and again, so it is the time of a line that tells it from another.
  const told = () => [...new Map(sockets.flatMap(({ finals }) => finals).map((each) => [each.segment_id, each])).values()];
  await comes(() => told().some(({ start_s }) => start_s > brokenAt), "no word after the break");
  const lines = told().sort((one, other) => one.start_s - other.start_s);
  lines.slice(1).forEach(({ start_s, text }, i) => assert.ok(start_s > lines[i].end_s - 0.5, `"${text}" begins before "${lines[i].text}" ends`));
  await until(page, `document.querySelectorAll("[role=log] li").length >= ${lines.length}`);
  const texts = await page.getByRole("log").locator("p").allInnerTexts();
  assert.deepEqual(texts.slice(0, lines.length), lines.map(({ text }) => text));
});

test("pause hears nothing, going on hears again, by a key", async () => {
  await page.keyboard.press("p");
  await page.getByRole("status").getByText("paused").waitFor();
  let sent;
  await comes(async () => {
    ({ sent } = sockets.at(-1));
    await page.waitForTimeout(1000);
    return sockets.at(-1).sent === sent;
  }, "sound goes on in the pause");
  await clean(page, "live-paused");
  await page.keyboard.press("p");
  await page.getByRole("status").getByText("listening").waitFor();
  await comes(() => sockets.at(-1).sent > sent, "no sound after the pause");
});

test("a page that is loaded anew goes on with the session", async () => {
  const before = (await page.getByRole("log").innerText()).slice(0, 40);
  await page.reload();
  await page.getByRole("button", { name: "Go on with it" }).click();
  await page.getByRole("status").getByText("listening").waitFor({ timeout: PATIENCE });
  await page.getByRole("log").getByText(/country/i).first().waitFor({ timeout: PATIENCE });
  assert.ok(before.length > 0);
});

test("stop leads to the recording", async () => {
  await page.getByRole("button", { name: "Stop and keep" }).click();
  await page.waitForURL(/\/app\/recording\/rec_/, { timeout: PATIENCE });
  await page.getByRole("main").getByText(/country/i).first().waitFor({ timeout: PATIENCE });
  assert.equal(await page.evaluate("sessionStorage['nemo-live'] ?? null"), null);
});

test("without a microphone it says what to do, and a file still goes", async () => {
  for (const [error, words] of [["NotAllowedError", "does not let this page use the microphone"], ["NotFoundError", "There is no microphone"], ["NotReadableError", "The microphone is taken"]]) {
    await page.goto(`${url}/app/live`);
    await page.evaluate(`navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "${error}"))`);
    await page.getByRole("button", { name: "Start listening" }).click();
    await page.getByText(words, { exact: false }).waitFor();
  }
  await clean(page, "live-no-microphone");
});

test("a microphone that is unplugged pauses; nothing is lost", async () => {
  await page.goto(`${url}/app/live`);
  await page.evaluate(`(() => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => (window.device = await real(wanted));
  })()`);
  await page.getByRole("button", { name: "Start listening" }).click();
  await page.getByRole("status").getByText("listening").waitFor({ timeout: PATIENCE });
  await page.evaluate("device.getAudioTracks()[0].dispatchEvent(new Event('ended'))");
  await page.getByText("The microphone is gone").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByRole("status").getByText("listening").waitFor();
  await page.getByRole("link", { name: "Recordings" }).first().click(); // leaving keeps what was said
  await until(page, "!('nemo-live' in sessionStorage)", 120);
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
