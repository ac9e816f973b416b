// Search: words marked, filters in the address, every passage plays its moment.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clean, heardThenSilent, innocent, openHouse, signUp, until, uploadRecording, url } from "./house.mjs";

let house, page;
before(async () => {
  house = await openHouse();
  page = house.page;
  await signUp(page);
  await uploadRecording(page);
});
after(async () => await house?.close());

const hits = () => page.locator(".hit");

test("before a question: what can be asked", async () => {
  await page.goto(`${url}/app/search`);
  await page.getByRole("heading", { name: "Everything you have heard and kept" }).waitFor();
  await clean(page, "search-empty");
});

test("what was asked for is marked, and plays its moment", async () => {
  await page.getByRole("searchbox").fill("what your country can do <b>");
  await page.keyboard.press("Enter");
  await page.locator(".hit mark", { hasText: "country" }).first().waitFor();
  await clean(page, "search-hits");
  await hits().first().getByRole("button", { name: /^Play from/ }).click();
  await heardThenSilent(page);
  await page.getByRole("region", { name: "Player" }).getByRole("button", { name: "Play", exact: true }).waitFor();
});

test("filters narrow it down, stand in the address, and come off by a click", async () => {
  await page.getByRole("button", { name: "Filters" }).click();
  await page.getByRole("combobox", { name: "What" }).selectOption("transcript");
  await until(page, "location.search.includes('type=transcript')");
  await hits().first().waitFor();
  await page.getByRole("textbox", { name: "From", exact: true }).fill("2999-01-01");
  await page.getByRole("textbox", { name: "From", exact: true }).blur();
  await page.getByText("Nothing fits all filters", { exact: false }).waitFor();
  await clean(page, "search-filtered");
  await page.reload();
  await page.getByText("Nothing fits all filters", { exact: false }).waitFor();
  await page.getByRole("main").getByRole("button", { name: "Without filters" }).last().click();
  await hits().first().waitFor();
  assert.equal(await page.evaluate("location.search.includes('from')"), false);
});

test("a tag narrows it down to what carries it", async () => {
  await page.getByLabel("Tag").fill("no-such-tag");
  await page.keyboard.press("Enter");
  await page.getByText("Nothing fits all filters", { exact: false }).waitFor();
  await page.goBack();
  await hits().first().waitFor();
});

test("to the transcript at that moment, and back", async () => {
  await hits().first().getByRole("link", { name: /^Play from/ }).click();
  await page.getByRole("heading", { name: "jfk", level: 1 }).waitFor();
  await page.locator(".word.heard").waitFor();
  await page.goBack();
  await hits().first().waitFor();
});

test("without a network it says so, and tries again by a click", async () => {
  await house.context.setOffline(true);
  await page.getByRole("searchbox").fill("citizen");
  await page.keyboard.press("Enter");
  await page.waitForTimeout(500);
  await house.context.setOffline(false);
  await hits().first().waitFor();
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
