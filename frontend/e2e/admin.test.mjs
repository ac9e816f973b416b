// Administration. The platform of the tests has the administrator `first-admin`, whose password is that of all.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { clean, comes, innocent, openHouse, signUp, url } from "./house.mjs";

const ADMIN = process.env.NEMO_ADMIN ?? "first-admin";
const password = "a long enough pass phrase";
const name = `guest-${Date.now()}`;
let house, page;
const row = () => page.getByRole("listitem").filter({ hasText: name });

before(async () => {
  house = await openHouse();
  page = house.page;
});
after(async () => await house?.close());

test("who is no administrator is told so", async () => {
  await signUp(page);
  await page.goto(`${url}/app/admin`);
  await page.getByText("Only administrators see this.", { exact: false }).waitFor();
  await clean(page, "admin-refused");
  await page.getByRole("button", { name: /^Menu of/ }).click();
  assert.equal(await page.getByRole("menuitem", { name: "Administration" }).count(), 0);
  await page.getByRole("menuitem", { name: "Sign out" }).click();
});

test("an administrator comes in and makes an account", async () => {
  await page.getByLabel("User name").fill(ADMIN);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: /^Menu of/ }).click();
  await page.getByRole("menuitem", { name: "Administration" }).click();
  await page.getByRole("button", { name: "New user" }).click();
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("First password").fill("password1234");
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.getByRole("alert").locator("p").first().waitFor();
  await clean(page, "admin-new-user");
  await page.getByLabel("First password").fill(password);
  await page.getByRole("button", { name: "Make the account" }).click();
  await row().waitFor();
  await clean(page, "admin-users");
});

test("a role and a lock are changed, and put back", async () => {
  await row().getByRole("button", { name: /^Make administrator/ }).click();
  await row().getByRole("button", { name: /^Make user/ }).waitFor();
  await page.getByRole("button", { name: "Undo" }).click();
  await row().getByRole("button", { name: /^Make administrator/ }).waitFor();
  await row().getByRole("button", { name: /^Disable/ }).click();
  await row().getByText("disabled", { exact: true }).waitFor();
  assert.equal((await signIn()).status, 401);
  await row().getByRole("button", { name: /^Enable/ }).click();
  await row().getByRole("button", { name: /^Disable/ }).waitFor();
  assert.equal((await signIn()).status, 200);
});

const signIn = () => fetch(`${url}/auth/login`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ username: name, password }) });

test("an account is deleted once nobody wants it back", async () => {
  await row().getByRole("button", { name: /^Delete the account/ }).click();
  const toast = page.getByRole("alert").filter({ hasText: "all that it owns" });
  await toast.getByRole("button", { name: "Undo" }).click();
  await row().getByRole("button", { name: /^Delete the account/ }).click();
  await toast.last().getByRole("button", { name: "Close" }).click();
  await row().waitFor({ state: "detached" });
  await comes(async () => (await signIn()).status === 401, "the account still signs in", 60);
});

test("the log says what was done, and that it is whole", async () => {
  await page.getByRole("link", { name: "Audit log" }).click();
  await page.getByText("The log is whole", { exact: false }).waitFor();
  await page.getByRole("cell", { name: /^changed the account/ }).first().waitFor();
  // The account is disabled first; its deletion stands in the log once all that it owned is gone.
  const deleted = page.getByRole("cell", { name: /^deleted the account/ }).first();
  await comes(async () => {
    await page.reload();
    await page.getByText("The log is whole", { exact: false }).waitFor();
    return deleted.isVisible();
  }, "its deletion does not stand in the log", 60);
  await clean(page, "admin-audit");
});

test("the platform: services, models, and the back button", async () => {
  await page.getByRole("link", { name: "Platform" }).click();
  await page.getByText("Registration").waitFor();
  await page.locator("code").first().waitFor();
  await page.getByRole("region", { name: "Backups" }).getByText("Last verified restore").waitFor();
  await clean(page, "admin-platform");
  await page.goBack();
  await page.getByText("The log is whole", { exact: false }).waitFor();
});

test("no violation of the policy, no request to anybody else", () => innocent(house));
