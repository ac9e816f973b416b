// Asking: conversations, quotations that play, checked sentences, a broken line, a reload in the middle.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clean, heardThenSilent, innocent, openHouse, PHONE, signUp, until, uploadRecording, url, WIDE } from "./house.mjs";

let house, page;
const box = () => page.getByLabel("Your question", { exact: true });
const idle = () => page.getByRole("button", { name: "Ask", exact: true }).waitFor({ timeout: 300_000 });
const last = () => page.locator(".chat-turn").last();

async function ask(question) {
  await box().fill(question);
  await page.keyboard.press("Control+Enter");
  await page.locator(".chat-question", { hasText: question }).last().waitFor();
}

before(async () => {
  house = await openHouse();
  page = house.page;
  await signUp(page);
});
after(async () => await house?.close());

test("with nothing to ask about it says what to do", async () => {
  await page.goto(`${url}/app/chat`);
  await page.getByRole("main").getByRole("link", { name: "Bring a recording first" }).waitFor();
  await page.getByText("What you ask is kept here.").waitFor();
  await clean(page, "chat-empty");
});

test("the first questions come from the user's own recordings", async () => {
  await page.getByRole("main").getByRole("link", { name: "Bring a recording first" }).click();
  await uploadRecording(page);
  await page.getByRole("link", { name: "Ask" }).first().click();
  const suggestion = page.getByRole("button", { name: "What was said about Americans?" });
  await suggestion.waitFor();
  await clean(page, "chat-suggestions");
  await suggestion.focus();
  await page.keyboard.press("Enter");
  await page.locator(".chat-quotation").first().waitFor({ timeout: 60_000 });
  await until(page, "location.search.startsWith('?c=cnv_')");
  await idle();
});

test("a quotation comes first, to the letter, and plays its seconds", async () => {
  await ask("What should Americans ask about their country?");
  const chip = last().getByRole("button", { name: /\[1\].* at 0:0/ });
  await chip.waitFor({ timeout: 60_000 });
  await idle();
  await last().getByText("word for word").first().waitFor();
  await chip.click();
  await heardThenSilent(page);
  const words = last().locator(".chat-words");
  if (await words.count()) {
    const proof = words.getByRole("button", { name: /supported|contradicted/ }).first();
    if (await proof.count()) {
      await proof.focus();
      await page.keyboard.press("Enter");
      await page.getByText(/^Checked by words/).waitFor();
      await clean(page, "chat-proof");
      await page.keyboard.press("Enter");
      await page.getByText(/^Checked by words/).waitFor({ state: "detached" });
    }
  }
  await clean(page, "chat-answer");
});

test("the quotation leads into the recording at its second, and back", async () => {
  await last().locator(".chat-quotation").first().getByRole("link", { name: "jfk" }).click();
  await page.getByRole("heading", { name: "jfk" }).waitFor();
  assert.match(page.url(), /\/recording\/rec_.*\?t=\d/);
  await page.goBack();
  await last().locator(".chat-quotation").first().waitFor();
});

test("what nobody said is told, and markup in a question stays text", async () => {
  const evil = '<img src=x onerror="window.hurt=1"> <script>window.hurt=1</script> **What** was said about zebras in Timbuktu?';
  await ask(evil);
  await idle();
  await last().getByText("I found nothing in your memories that answers this.").waitFor();
  assert.equal(await page.evaluate("window.hurt"), undefined);
  assert.equal(await page.locator(".chat-thread img").count(), 0);
  await ask("At what time of the day should Americans ask what they can do for their country?");
  await idle();
  await last().getByText("The nearest is:", { exact: false }).waitFor();
  await last().getByRole("list", { name: "The nearest that was found" }).getByRole("button", { name: /^\[1\]/ }).waitFor();
  await clean(page, "chat-nearest");
});

test("Shift-Enter begins a line, Enter asks; an answer can be copied", async () => {
  await box().fill("What should fellow Americans ask");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("about their country?");
  await page.keyboard.press("Enter");
  await page.locator(".chat-question", { hasText: "What should fellow Americans ask\nabout their country?" }).waitFor();
  await last().locator(".chat-quotation").first().waitFor({ timeout: 60_000 });
  await idle();
  await house.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await last().getByRole("button", { name: "Copy" }).click();
  await last().getByRole("button", { name: "Copied" }).waitFor();
  assert.match(await page.evaluate("navigator.clipboard.readText()"), /country/);
});

test("a line that breaks is mended where it broke", async () => {
  const resumed = [];
  page.on("request", (request) => /messages\/.*\/events/.test(request.url()) && resumed.push(request.headers()["last-event-id"]));
  // The server answers in full; the page hears the first two events only.
  await page.route("**/gemma/chat", async (route) => {
    const answer = await route.fetch({ timeout: 300_000 });
    const first = (await answer.text()).split("\n\n").slice(0, 2).join("\n\n");
    await route.fulfill({ response: answer, body: `${first}\n\n` });
  }, { times: 1 });
  await ask("What did he say to his fellow Americans?");
  await last().locator(".chat-quotation").first().waitFor({ timeout: 300_000 });
  await idle();
  assert.deepEqual(resumed, ["2"]);
});

test("a reload in the middle reads the answer on", async () => {
  const sent = page.waitForResponse("**/gemma/chat");
  await ask("What may a country do for its citizens, and they for it?");
  await sent;
  await until(page, "Object.keys(JSON.parse(sessionStorage['nemo-answering'] ?? '{}')).length > 0 || !document.querySelector('.chat-working')");
  await page.reload();
  await last().locator(".chat-question", { hasText: "for its citizens" }).waitFor();
  await last().locator(".chat-answer").getByText(/“|ask|nothing/i).first().waitFor({ timeout: 120_000 });
  await idle();
});

test("where the question did not arrive it says why and asks again", async () => {
  await page.route("**/gemma/chat", (route) => route.abort("connectionrefused"), { times: 1 });
  await ask("Is anybody there to ask the country?");
  await last().getByText("There is no answer").waitFor();
  await clean(page, "chat-trouble");
  await last().getByRole("button", { name: "Ask again" }).click();
  await last().locator(".chat-quotation").first().waitFor({ timeout: 60_000 });
  await idle();
  assert.equal(await page.locator(".chat-question", { hasText: "Is anybody there" }).count(), 1);
});

test("stopping keeps what is there", async () => {
  await ask("Ask not what your country can do for you, and why?");
  await page.getByRole("button", { name: "Stop" }).click().catch(() => undefined); // it may be done already
  await idle();
  await last().locator(".chat-answer").waitFor();
});

test("conversations: a new one, a name, a search, away and back", async () => {
  await page.getByRole("heading", { name: "Ask", exact: true }).click();
  await page.keyboard.press("n");
  await page.getByText("Ask about anything that was said").waitFor();
  await ask("Who asked what?");
  await idle();
  const side = page.getByRole("navigation", { name: "Conversations" });
  await side.getByRole("link", { name: /^Who asked what/ }).waitFor();
  await side.getByRole("button", { name: "More about Who asked what?" }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.getByLabel("Name of the conversation").fill("مرحبا <b>Kennedy</b>");
  await page.keyboard.press("Enter");
  await side.getByRole("link", { name: /Kennedy/ }).waitFor();
  await side.getByRole("searchbox").fill("kennedy");
  assert.equal(await side.getByRole("listitem").count(), 1);
  await side.getByRole("button", { name: /More about/ }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await side.getByText("No conversation is called").waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await side.getByRole("link", { name: /Kennedy/ }).click();
  await page.getByRole("heading", { name: /Kennedy/ }).waitFor();
});

test("on a phone the conversations open from the side", async () => {
  await page.setViewportSize(PHONE);
  await page.getByRole("button", { name: "Conversations" }).click();
  await page.getByRole("dialog").getByRole("link", { name: /Kennedy/ }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.setViewportSize(WIDE);
});

test("a conversation that is not there says so", async () => {
  await page.goto(`${url}/app/chat?c=cnv_01ARZ3NDEKTSV4RRFFQ69G5FAV`);
  await page.getByText("This conversation cannot be shown").waitFor();
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
