// Voices: enrolled by microphone, file and recording; named, merged, given away, forgotten.
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { audio, clean, innocent, openHouse, signUp, uploadRecording, url } from "./house.mjs";

const reader = join(dirname(audio), "librivox-sas-0870.wav");
let house, page;
const dialog = () => page.getByRole("dialog");
const card = (name) => page.getByRole("main").getByRole("listitem").filter({ has: page.getByRole("heading", { name }) });

before(async () => {
  house = await openHouse({ args: [`--use-file-for-fake-audio-capture=${reader}`] });
  page = house.page;
  await signUp(page);
  await uploadRecording(page, audio);
  await page.goto(`${url}/app/speakers`);
});
after(async () => await house?.close());

test("nobody yet: the way to the first voice", async () => {
  await page.getByText("No voice is known yet").waitFor();
  await clean(page, "speakers-empty");
});

test("a sample that is no voice says why", async () => {
  await page.keyboard.press("n");
  await dialog().getByLabel("Name").fill("<b>nobody</b>");
  await dialog().getByRole("radio", { name: "From a file" }).check();
  await dialog().locator("input[type=file]").setInputFiles({ name: "no.wav", mimeType: "audio/wav", buffer: Buffer.from("no sound") });
  await dialog().getByRole("button", { name: "Learn this voice" }).click();
  await dialog().getByText("The sample was not taken").waitFor();
  await clean(page, "speakers-refused");
  await page.keyboard.press("Escape");
});

test("a voice is learnt from the microphone", async () => {
  await page.getByRole("button", { name: "New voice" }).click();
  await dialog().getByLabel("Name").fill("Ada");
  await clean(page, "speakers-microphone"); // before it hears: half a minute ends by itself
  await dialog().getByRole("button", { name: "Record" }).click();
  await dialog().getByText("that is enough").waitFor({ timeout: 40_000 });
  await dialog().getByRole("button", { name: "Stop" }).click();
  await dialog().locator("audio").waitFor();
  await dialog().getByRole("button", { name: "Learn this voice" }).click();
  await dialog().getByRole("button", { name: "Done" }).waitFor({ timeout: 60_000 });
  await clean(page, "speakers-learnt");
  await dialog().getByRole("button", { name: "Done" }).click();
  await card("Ada").getByText("1 sample").waitFor();
});

test("a voice is learnt from a recording", async () => {
  await page.getByRole("button", { name: "New voice" }).click();
  await dialog().getByLabel("Name").fill("Kenedi");
  await dialog().getByRole("radio", { name: "From a recording that is here" }).check();
  await dialog().locator("select").selectOption({ label: "jfk" });
  await dialog().getByRole("group", { name: "Who in it" }).getByRole("radio").first().check();
  await clean(page, "speakers-from-recording");
  await dialog().getByRole("button", { name: "Learn this voice" }).click();
  await dialog().getByRole("button", { name: "Done" }).click({ timeout: 60_000 });
  await card("Kenedi").waitFor();
  await clean(page, "speakers");
});

test("a new name shows what it changes, and can be taken back", async () => {
  await page.getByRole("button", { name: "Rename Kenedi" }).click();
  await page.getByLabel("Name", { exact: true }).fill("ジョン عمر");
  await page.getByRole("button", { name: "See what changes" }).click();
  await page.getByText(/recordings? will say/).waitFor();
  await clean(page, "speakers-rename");
  await page.getByRole("button", { name: "Rename", exact: true }).last().click();
  await card("ジョン عمر").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await card("Kenedi").waitFor();
});

test("who is named in a recording is listed there, given away, and brought back", async () => {
  const heard = await nameInRecording("Kenedi");
  assert.ok(heard);
  await page.goto(`${url}/app/speakers`);
  await page.getByRole("button", { name: "Heard in which recordings: Kenedi" }).click();
  await page.getByRole("link", { name: "jfk" }).waitFor();
  await clean(page, "speakers-heard");
  await page.getByRole("button", { name: "Not them: jfk is not Kenedi" }).click();
  await page.getByRole("button", { name: "Give the voice away" }).click();
  await page.getByText("In no recording yet.").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("link", { name: "jfk" }).waitFor();
});

/** As the recording page does it, with the page's own session. */
async function nameInRecording(name) {
  return page.evaluate(async (name) => {
    const { access_token } = await (await fetch("/auth/refresh", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })).json();
    const headers = { Authorization: `Bearer ${access_token}`, "Content-Type": "application/json" };
    const get = async (path) => (await fetch(path, { headers })).json();
    const [recording] = (await get("/transcription/recent")).data;
    const who = (await get("/transcription/speakers")).data.find((each) => each.name === name);
    const speakers = [{ label: recording.speakers[0].label, speaker_id: who.speaker_id, enroll: false }];
    return (await fetch(`/transcription/${recording.transcript_id}/speakers`, { method: "POST", headers, body: JSON.stringify({ speakers }) })).ok;
  }, name);
}

test("two who are one are merged, and parted again", async () => {
  await page.getByRole("button", { name: "Merge Kenedi with somebody" }).click();
  await dialog().getByRole("radio", { name: /Ada/ }).check();
  await dialog().getByText("1 recording of Kenedi goes to Ada", { exact: false }).waitFor();
  await clean(page, "speakers-merge");
  await dialog().getByRole("button", { name: "Yes, the same person" }).click();
  await card("Ada").getByText("in 1 recording").waitFor();
  await card("Kenedi").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Undo" }).click();
  await card("Kenedi").getByText("in 1 recording").waitFor();
});

test("a voice is forgotten once nobody wants it back", async () => {
  const forget = page.getByRole("button", { name: "Forget the voice of Ada" });
  await forget.click();
  await page.getByRole("button", { name: "Undo" }).last().click();
  await forget.click();
  const forgotten = page.waitForResponse((answer) => answer.request().method() === "DELETE");
  await page.getByRole("alert").filter({ hasText: "Ada will be erased" }).getByRole("button", { name: "Close" }).click();
  await forgotten;
  await page.reload();
  await card("Kenedi").waitFor();
  assert.equal(await card("Ada").count(), 0);
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
