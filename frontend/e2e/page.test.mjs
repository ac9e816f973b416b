// The frame of the page and its oldest screens, against the running stack.
import { after, before, test } from "node:test";
import { audio, clean, heardThenSilent, innocent, openHouse, signUp, until, uploadRecording, url } from "./house.mjs";

let house, page;
before(async () => {
  house = await openHouse();
  page = house.page;
});
after(async () => await house?.close());

test("make an account and come in", async () => {
  await page.goto(url);
  await page.getByLabel("User name").waitFor();
  await clean(page, "sign-in");
  if (!(await page.getByRole("heading", { name: "Welcome to Nemo" }).isVisible())) {
    await page.getByLabel("User name").fill("nobody-here");
    await page.getByLabel("Password", { exact: true }).fill("wrong wrong wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The user name or the password is wrong.").waitFor();
  }
  await signUp(page);
  await page.getByText("Nothing here yet").waitFor();
  await clean(page, "home-empty");
});

test("drop a file, see it become a transcript", async () => {
  await uploadRecording(page, audio);
  await page.getByText("ask what you can do", { exact: false }).waitFor();
  await clean(page, "home");
});

test("what is no audio says why; what is deleted can come back", async () => {
  await page.locator("input[type=file]").setInputFiles({ name: "no.wav", mimeType: "audio/wav", buffer: Buffer.from("no audio") });
  await page.getByText("not a kind of audio", { exact: false }).first().waitFor({ timeout: 60_000 }).catch(async () => {
    await page.getByText(/no\.wav|could not be|audio/i).first().waitFor();
  });
  await page.getByRole("button", { name: "Delete no" }).click();
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("button", { name: "Delete no" }).waitFor();
});

test("click a word to hear it", async () => {
  await page.getByRole("link", { name: "jfk", exact: true }).click();
  await page.locator(".word", { hasText: /^country$/ }).first().click();
  await page.locator(".word.heard").waitFor();
  await heardThenSilent(page, 1);
  await clean(page, "recording");
});

test("search plays its moment", async () => {
  await page.getByRole("link", { name: "Search" }).first().click();
  await page.getByRole("searchbox").fill("duty of a citizen");
  await page.keyboard.press("Enter");
  const play = page.getByRole("link", { name: /Play from/ }).first();
  await play.waitFor();
  await clean(page, "search");
  await play.click();
  await page.getByRole("heading", { name: "jfk" }).waitFor();
  await page.goBack();
  await play.waitFor();
});

test("ask, and play the evidence", async () => {
  await page.getByRole("link", { name: "Ask" }).first().click();
  await page.getByLabel("Your question").fill("What should Americans ask about their country?");
  await page.keyboard.press("Enter");
  const chip = page.getByRole("button", { name: /\[1\].* at 0:0/ });
  await chip.waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "Ask", exact: true }).waitFor({ timeout: 300_000 });
  await chip.click();
  await until(page, "document.querySelector('audio').readyState > 1");
  await clean(page, "chat");
});

test("keys: Ctrl-K goes anywhere, ? lists them all", async () => {
  await page.getByRole("heading", { name: "Ask", exact: true }).click();
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Commands and search").waitFor();
  await clean(page, "shortcuts");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.keyboard.press("Control+k");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type("citizen");
  await page.getByText("Search for “citizen”").waitFor();
  await clean(page, "palette");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Search", exact: true }).waitFor();
});

test("the theme and the language are kept", async () => {
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: /^Theme/ }).click();
  await page.getByRole("button", { name: /^Menu of/ }).click();
  await page.getByRole("menuitem", { name: "Deutsch" }).click();
  await page.reload();
  await page.getByRole("heading", { name: "Suchen", exact: true }).waitFor();
  await until(page, "document.documentElement.dataset.mantineColorScheme === 'dark' && document.documentElement.lang === 'de'");
  await page.getByRole("button", { name: /^Menü von/ }).click();
  await page.getByRole("menuitem", { name: "English" }).click();
  await page.getByRole("heading", { name: "Search", exact: true }).waitFor();
});

test("without a network the page says so, and comes back", async () => {
  await house.context.setOffline(true);
  await page.getByText("You are offline", { exact: false }).waitFor();
  await house.context.setOffline(false);
  await page.getByText("You are offline", { exact: false }).waitFor({ state: "detached" });
});

test("an address that leads nowhere leads back", async () => {
  await page.goto(`${url}/app/nowhere`);
  await page.getByRole("heading", { name: "There is nothing here" }).waitFor();
  await page.getByRole("main").getByRole("link", { name: "Back to the recordings" }).click();
  await page.getByRole("heading", { name: "Recordings" }).waitFor();
});

test("the session outlives a reload; signing out ends it", async () => {
  await page.reload();
  await page.getByRole("heading", { name: "Recordings" }).waitFor();
  await page.getByRole("button", { name: /^Menu of/ }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await page.getByLabel("User name").waitFor();
  await page.reload();
  await page.getByLabel("User name").waitFor();
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
