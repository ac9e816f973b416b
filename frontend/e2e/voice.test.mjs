// Talking with the recordings, with real speech in the microphone and real speech back.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clean, innocent, openHouse, signUp, speaking, until, uploadRecording, url } from "./house.mjs";

const PATIENCE = 400_000; // a model on two busy cores
let house, page;
before(async () => {
  house = await openHouse({ args: speaking });
  page = house.page;
  page.setDefaultTimeout(60_000);
  await signUp(page);
  await uploadRecording(page);
});
after(async () => await house?.close());

test("hold the space bar and ask: the answer is written and spoken", async () => {
  await page.getByRole("link", { name: "Talk" }).first().click();
  await page.getByText("Ask by voice, hear the answer").waitFor();
  await clean(page, "voice-begin");
  await page.getByRole("button", { name: "Hold to talk" }).click();
  await page.getByText("Hold the button or the space bar, and ask.").waitFor();
  await page.keyboard.down(" ");
  await page.getByText("I am listening. Let go to ask.").waitFor();
  await page.locator(".voice-question").filter({ hasText: /country/i }).first().waitFor({ timeout: PATIENCE });
  await page.keyboard.up(" ");
  await page.locator(".voice-answer").filter({ hasText: /\w{3}/ }).first().waitFor({ timeout: PATIENCE });
  await page.locator(".spoken").first().waitFor({ timeout: PATIENCE });
});

test("a press of the button over the answer ends it at once", async () => {
  await page.locator(".talk").focus();
  await shortPress();
  await page.locator(".spoken").first().waitFor({ state: "detached", timeout: 20_000 });
  await page.getByText("I am listening. Let go to ask.").waitFor();
  await shortPress();
  await page.getByText("I am listening. Let go to ask.").waitFor({ state: "detached" });
});

/** Short however slow the machine is: a longer one is a hold. */
const shortPress = () => page.evaluate(`["keydown", "keyup"].forEach((type) =>
  document.activeElement.dispatchEvent(new KeyboardEvent(type, { key: "Enter", bubbles: true, cancelable: true })))`);

test("its evidence plays; the chat ends, and goes on in writing", async () => {
  await page.keyboard.press("Escape");
  const chip = page.getByRole("button", { name: /\[1\]/ }).first();
  await chip.waitFor({ timeout: PATIENCE });
  await chip.click();
  await until(page, "document.querySelector('audio').readyState > 1", 60);
  await clean(page, "voice");
  await page.getByRole("button", { name: "End", exact: true }).click();
  await page.getByText("The chat has ended").waitFor();
  await page.getByRole("link", { name: "Go on in writing" }).waitFor();
});

test("hands-free: it hears a question without a button", async () => {
  await page.goto(`${url}/app/voice`);
  await page.getByRole("button", { name: "Hands-free" }).click();
  await page.locator(".voice-question").filter({ hasText: /\w/ }).first().waitFor({ timeout: PATIENCE });
  await page.getByRole("button", { name: "End", exact: true }).click();
  await page.getByRole("button", { name: "Hands-free" }).waitFor();
});

test("no microphone, no server: it says so", async () => {
  await page.goto(`${url}/app/voice`);
  await page.evaluate(`navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"))`);
  await page.getByRole("button", { name: "Hold to talk" }).click();
  await page.getByText("does not let this page use the microphone", { exact: false }).waitFor();
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
