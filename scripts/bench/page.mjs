// What the page takes: until something is there, from a click to the next picture, from the microphone to words, and a
// transcript of 20,000 words scrolling. Prints JSON; scripts/bench/page.py starts the platform and makes figures of it.
//   NEMO_URL=http://127.0.0.1:8000 NEMO_AUDIO=... NEMO_SPEECH=... node scripts/bench/page.mjs
// On a machine that draws without a GPU the frames are those of the processor.
import { readFileSync } from "node:fs";
import { audio, openHouse, signUp, speaking, uploadRecording, url } from "../../frontend/e2e/house.mjs";

const WORDS = 20_000;
const TURN = 80; // what half a minute of speech has
const SCROLLS = 600;
const STEP_PX = 80;
const LOADS = 7;
const VIEW = { width: 1280, height: 900 };
const sorted = (values) => [...values].sort((a, b) => a - b);
const at = (values, share) => Math.round(sorted(values)[Math.min(values.length - 1, Math.floor(values.length * share))] * 10) / 10;

/** First contentful paint of a browser that was never here, beside the same words as a bare page of the same server. */
async function paints() {
  const found = { ours: [], bare: [] };
  for (let load = 0; load < LOADS; load++) {
    for (const [name, path] of [["bare", "/version"], ["ours", "/app/"]]) {
      const { browser, page } = await openHouse();
      await page.goto(url + path, { waitUntil: "load" });
      if (name === "ours") await page.getByLabel("User name").waitFor();
      found[name].push(await page.evaluate("new Promise((done) => new PerformanceObserver((list) => { const [one] = list.getEntriesByName('first-contentful-paint'); if (one) done(one.startTime) }).observe({ type: 'paint', buffered: true }))"));
      await browser.close();
    }
  }
  return found;
}

/** From clicks and keys to the next picture, as the browser itself takes the time. */
async function interactions(page) {
  await page.evaluate("window.took = []; new PerformanceObserver((list) => { for (const each of list.getEntries()) if (each.interactionId) window.took.push(each.duration) }).observe({ type: 'event', durationThreshold: 16 })");
  let count = 0;
  for (let round = 0; round < 5; round++) {
    for (const name of ["Live", "Search", "Ask", "Memories", "Speakers", "Recordings"]) {
      await page.getByRole("link", { name, exact: true }).first().click();
      await page.waitForTimeout(250);
      count += 1;
    }
  }
  const slow = await page.evaluate("window.took");
  return [...slow, ...Array(Math.max(0, count - slow.length)).fill(8)]; // those that the browser does not tell took less than 16
}

/** Seconds from the first sound that was sent to the first words: as the server told them, and on the screen. */
async function firstWords() {
  const { browser, page } = await openHouse({ args: speaking });
  const seen = { sent: null, told: null };
  await page.routeWebSocket(/transcription\/stream/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => { if (typeof message !== "string") seen.sent ??= performance.now(); server.send(message); });
    server.onMessage((message) => { if (JSON.parse(message).type === "partial") seen.told ??= performance.now(); socket.send(message); });
  });
  await signUp(page);
  await page.getByRole("link", { name: "Live" }).first().click();
  // Seen by the page itself at the moment that it draws them: asking from outside would add its own time.
  await page.exposeFunction("drawn", () => (seen.shown ??= performance.now()));
  await page.evaluate("new MutationObserver(() => { if (/\\w/.test(document.querySelector('.loose')?.textContent ?? '')) requestAnimationFrame(() => drawn()) }).observe(document.body, { subtree: true, childList: true, characterData: true })");
  await page.getByRole("button", { name: "Start listening" }).click();
  for (let tries = 0; !seen.shown && tries < 1200; tries++) await page.waitForTimeout(100);
  await browser.close();
  return { server_s: (seen.told - seen.sent) / 1000, screen_s: (seen.shown - seen.sent) / 1000 };
}

/** A recording that gets 20,000 words by the API, as corrections that anybody could make. */
async function longTranscript(page, user) {
  const id = await uploadRecording(page, audio);
  const login = await fetch(`${url}/auth/login`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ username: user, password: "a long enough pass phrase" }),
  });
  const token = (await login.json()).access_token;
  const call = async (method, path, body) => {
    const answer = await fetch(`${url}/transcription/${id}${path}`, {
      method, headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }, body: body && JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const vocabulary = readFileSync(new URL("../../README.md", import.meta.url), "utf8").match(/\p{L}{2,}/gu);
  const speech = (count) => Array.from({ length: count }, (_, n) => vocabulary[(n * 7) % vocabulary.length]).join(" ");
  const [first] = (await call("GET", "")).segments;
  let made = await call("PATCH", `/segments/${first.segment_id}`, { text: speech(WORDS / TURN) });
  for (let long; (long = made.segments.find((segment) => segment.words.length > 1 && segment.start_s <= first.end_s)); ) {
    made = await call("POST", `/segments/${long.segment_id}/split`, { at_word: Math.ceil(long.words.length / 2) });
  }
  const edits = [];
  for (const segment of made.segments.slice(0, WORDS / TURN)) {
    const began = performance.now();
    made = await call("PATCH", `/segments/${segment.segment_id}`, { text: speech(TURN) });
    edits.push(performance.now() - began);
  }
  return { id, words: made.segments.reduce((sum, segment) => sum + segment.words.length, 0), turns: made.segments.length, last_edit_ms: at(edits.slice(-20), 0.5) };
}

async function scrolling(page, id) {
  const began = performance.now();
  await page.goto(`${url}/app/recording/${id}`);
  await page.locator(".word").first().waitFor();
  const first_words_ms = Math.round(performance.now() - began);
  await page.waitForTimeout(1500);
  const frames = await page.evaluate(`new Promise((done) => {
    const times = []; let last = performance.now(); let left = ${SCROLLS};
    const frame = (now) => {
      times.push(now - last); last = now;
      scrollBy(0, ${STEP_PX});
      if (left-- > 0) requestAnimationFrame(frame); else done(times.slice(1));
    };
    requestAnimationFrame(frame);
  })`);
  return { first_words_ms, frames, words_in_page: await page.locator(".word").count() };
}

/** The same without waiting for the next picture of a screen at 60 Hz: the time between frames is what one takes. */
async function unbound(context, id) {
  const { browser, page } = await openHouse({ args: ["--disable-frame-rate-limit", "--disable-gpu-vsync"], context: { viewport: VIEW, storageState: await context.storageState() } });
  const { frames } = await scrolling(page, id);
  await browser.close();
  return frames;
}

const paint = await paints();
const words = await firstWords();
const house = await openHouse({ context: { viewport: VIEW } });
const user = await signUp(house.page);
const interaction = await interactions(house.page);
const long = await longTranscript(house.page, user);
const scroll = await scrolling(house.page, long.id);
const free = await unbound(house.context, long.id);
await house.close();
console.log(JSON.stringify({
  paint_ms: { ours: at(paint.ours, 0.5), bare: at(paint.bare, 0.5) },
  interaction_ms: { p50: at(interaction, 0.5), p98: at(interaction, 0.98), count: interaction.length },
  words, long, scroll: { ...scroll, frames: scroll.frames.length, p50: at(scroll.frames, 0.5), p95: at(scroll.frames, 0.95), p99: at(scroll.frames, 0.99) },
  unbound: { p50: at(free, 0.5), p95: at(free, 0.95), p99: at(free, 0.99) },
}));
