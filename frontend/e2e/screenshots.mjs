// Every registered screen in both themes, wide and on a phone: NEMO_URL, NEMO_AUDIO, and the folder to write to.
import { mkdirSync, readFileSync } from "node:fs";
import { everyLook, openHouse, shoot, signUp, uploadRecording, url } from "./house.mjs";

const folder = process.argv[2];
mkdirSync(folder, { recursive: true });
const registry = readFileSync(new URL("../src/app/screens.ts", import.meta.url), "utf8");
const screens = [...registry.matchAll(/name: "([\w-]+)", path: "([^"]+)"/g)].map(([, name, path]) => ({ name, path }));

const house = await openHouse();
const { page } = house;
await page.goto(url);
await page.getByLabel("User name").waitFor();
const take = (name) => everyLook(page, (theme, width) => shoot(page, folder, name, theme, width));
await take("sign-in");
await signUp(page);
await take("home-empty");
const id = await uploadRecording(page);
for (const { name, path } of screens) {
  await page.goto(`${url}/app${path.replace("$id", id)}`);
  await page.getByRole("heading", { level: 1 }).waitFor();
  await page.locator(".skeleton").first().waitFor({ state: "hidden" });
  await take(name);
}
await house.close();
console.log(`${(screens.length + 2) * 4} pictures in ${folder}`);
