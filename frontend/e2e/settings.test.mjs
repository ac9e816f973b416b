// What belongs to one's account: look, password, devices, tokens, the sealed vault, the archive, the end of it all.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { audio, clean, comes, innocent, openHouse, signUp, until, uploadRecording, url } from "./house.mjs";

const password = "a long enough pass phrase";
let house, page, user;
const open = async (section) => {
  await page.goto(`${url}/app/settings?section=${section}`);
  await page.getByRole("heading", { name: "Settings", level: 1 }).waitFor();
};

before(async () => {
  house = await openHouse();
  page = house.page;
  await house.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  user = await signUp(page);
  await uploadRecording(page, audio);
});
after(async () => await house?.close());

test("the look is chosen and kept", async () => {
  await open("look");
  await page.getByText("Version").waitFor();
  await clean(page, "settings-look");
  await page.getByRole("radio", { name: "dark" }).check();
  await until(page, "document.documentElement.dataset.mantineColorScheme === 'dark'");
  await page.getByRole("radio", { name: "Deutsch" }).click();
  await page.getByRole("heading", { name: "Einstellungen", level: 1 }).waitFor();
  await page.reload();
  await page.getByRole("radio", { name: "English" }).click();
  await page.getByRole("heading", { name: "Settings", level: 1 }).waitFor();
  await page.getByRole("radio", { name: "as the device" }).check();
});

test("another device is seen, and its session ended once nobody wants it back", async () => {
  const other = await house.browser.newContext();
  const phone = await other.newPage();
  await phone.goto(url);
  await phone.getByLabel("User name").fill(user);
  await phone.getByLabel("Password", { exact: true }).fill(password);
  await phone.getByRole("button", { name: "Sign in" }).click();
  await phone.getByRole("heading", { name: "Recordings", level: 1 }).waitFor();
  await open("account");
  await page.getByText("this one").waitFor();
  await clean(page, "settings-account");
  const end = page.getByRole("button", { name: /^End the session/ });
  await end.click();
  await page.getByRole("button", { name: "Undo" }).click();
  await end.click();
  const toast = page.getByRole("alert").filter({ hasText: "will be signed out" });
  await toast.getByRole("button", { name: "Close" }).click();
  await end.waitFor({ state: "detached" });
  await phone.reload();
  await phone.getByLabel("User name").waitFor();
  await other.close();
});

test("a wrong password changes nothing and says so; the right one does", async () => {
  await open("account");
  const change = async (now, next) => {
    await page.getByLabel("Your password now").fill(now);
    await page.getByLabel("New password").fill(next);
    await page.getByRole("button", { name: "Change the password" }).click();
  };
  await change("not my password", "another long pass phrase");
  await page.getByRole("alert").getByText(/wrong/).waitFor();
  await change(password, "another long pass phrase");
  await page.getByText("The password is changed.").first().waitFor();
  await change("another long pass phrase", password);
  await until(page, "document.querySelector('[name=current]').value === ''");
});

test("a token is shown once, works, and is deleted", async () => {
  await open("tokens");
  await page.getByText("No tokens").waitFor();
  await clean(page, "settings-tokens-empty");
  await page.getByLabel("Name", { exact: true }).fill("<img src=x onerror=alert(1)>");
  await page.getByRole("button", { name: "Make the token" }).click();
  const field = page.locator(".secret-value");
  await field.waitFor();
  const token = await field.inputValue();
  await page.getByRole("button", { name: "Copy" }).click();
  await until(page, `navigator.clipboard.readText().then((text) => text === ${JSON.stringify(token)})`);
  await clean(page, "settings-token-secret");
  const answer = await fetch(`${url}/transcription/recent`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200);
  await page.getByRole("button", { name: "I have it" }).click();
  await clean(page, "settings-tokens");
  await page.getByRole("button", { name: /^Delete the token/ }).click();
  await page.getByRole("alert").filter({ hasText: "will be deleted" }).getByRole("button", { name: "Close" }).click();
  await page.getByText("No tokens").waitFor();
  const tried = async () => (await fetch(`${url}/transcription/recent`, { headers: { Authorization: `Bearer ${token}` } })).status;
  await comes(async () => (await tried()) === 401, "the token still works", 60);
});

test("the vault is sealed, locked anywhere, and opened by the code or the password", async () => {
  await open("vault");
  await page.getByText("Your vault is open").waitFor();
  await clean(page, "settings-vault-open");
  await page.getByLabel("Your password now").fill("not my password");
  await page.getByRole("button", { name: "Seal the vault" }).click();
  await page.getByRole("alert").getByText(/wrong/).waitFor();
  await page.getByLabel("Your password now").fill(password);
  await page.getByRole("button", { name: "Seal the vault" }).click();
  const field = page.locator(".secret-value");
  await field.waitFor();
  const code = await field.inputValue();
  await clean(page, "settings-recovery-code");
  await page.getByRole("button", { name: "I have written it down" }).click();
  await page.getByLabel("Type it from where you kept it").fill("something else");
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("That is not the code.", { exact: false }).waitFor();
  await page.getByLabel("Type it from where you kept it").fill(code.toUpperCase());
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("sealed and unlocked").waitFor();
  await clean(page, "settings-vault-sealed");

  await page.goto(`${url}/app/`);
  await page.getByRole("link", { name: "jfk" }).waitFor();
  await page.getByRole("button", { name: /^Menu of/ }).click();
  await page.getByRole("menuitem", { name: "Lock the vault" }).click();
  await page.getByRole("heading", { name: "Your vault is locked" }).waitFor();
  assert.equal(await page.getByRole("link", { name: "jfk" }).count(), 0);
  await clean(page, "unlock");
  await page.getByLabel("Password", { exact: true }).fill("not my password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").getByText(/wrong/).waitFor();
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "jfk" }).waitFor();

  await open("vault");
  await page.getByRole("button", { name: "Lock the vault now" }).click();
  await page.getByRole("heading", { name: "Your vault is locked" }).waitFor();
  await open("data"); // who has lost both can still leave
  await page.getByRole("region", { name: "Delete the account" }).waitFor();
  await clean(page, "settings-data-locked");
  await page.goto(`${url}/app/`);
  await page.getByRole("button", { name: "Use the recovery code" }).click();
  await page.getByLabel("Recovery code").fill(code);
  await page.getByRole("button", { name: "Unlock" }).click();
  await page.getByRole("link", { name: "jfk" }).waitFor();

  await open("vault");
  const block = page.getByRole("region", { name: "Unseal the vault" });
  await block.getByLabel("Your password now").fill(password);
  await block.getByRole("button", { name: "Unseal the vault" }).click();
  await page.getByRole("heading", { name: "Your vault is open" }).waitFor();
});

test("all of it goes out as an archive; a wrong one is refused, the right one taken back", async () => {
  await open("data");
  await clean(page, "settings-data");
  const coming = page.waitForEvent("download", { timeout: 60_000 });
  await page.getByRole("button", { name: "Export everything" }).click();
  const path = await (await coming).path();
  const field = page.locator("input[type=file]");
  await field.setInputFiles({ name: "no.zip", mimeType: "application/zip", buffer: Buffer.from("no archive") });
  await page.getByText("Nothing was imported").waitFor();
  await clean(page, "settings-import-refused");
  await field.setInputFiles(path);
  await page.getByRole("region", { name: "What was imported" }).or(page.getByText("nothing in it that is not here")).first().waitFor({ timeout: 60_000 });
  await clean(page, "settings-imported");
});

test("rules of retention are saved, and put back", async () => {
  await open("data");
  await page.getByLabel("Sound", { exact: true }).fill("30");
  await page.getByRole("button", { name: "Save the rules" }).click();
  await page.getByRole("button", { name: "Undo" }).click();
  await until(page, "!document.querySelector('.pairs input').value");
  await page.reload();
  await page.getByLabel("Sound", { exact: true }).waitFor();
  assert.equal(await page.getByLabel("Sound", { exact: true }).inputValue(), "");
});

test("everything is deleted only for who types the name", async () => {
  await open("data");
  const act = page.getByRole("button", { name: "Delete everything" });
  assert.ok(await act.isDisabled());
  await page.getByLabel(/^Type your user name/).fill(user);
  await act.click();
  await page.getByText("Everything is deleted.").first().waitFor();
  await page.goto(`${url}/app/`);
  await page.getByText("Nothing here yet").waitFor();
});

test("the account goes only with its password, and is gone", async () => {
  await open("data");
  const block = page.getByRole("region", { name: "Delete the account" });
  const leave = async (typed) => {
    await block.getByLabel("Your password now").fill(typed);
    await block.getByRole("button", { name: "Delete my account" }).click();
  };
  await leave("not my password");
  await block.getByText("The password is wrong.").waitFor();
  await leave(password);
  await page.getByLabel("User name", { exact: true }).fill(user);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The user name or the password is wrong.").waitFor();
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
