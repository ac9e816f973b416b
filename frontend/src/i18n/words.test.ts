/** Both languages say the same things; no screen says anything outside of them; every key that is asked for is there. */
import { readdirSync, readFileSync } from "node:fs";
import ts from "typescript";
import { expect, test } from "vitest";

const SRC = `${process.cwd()}/src/`;
const SHOWN = new Set(["label", "title", "alt", "placeholder", "aria-label", "description", "text"]);
type Words = { [key: string]: string | Words };

const files = (language: string) => readdirSync(`${SRC}i18n/${language}`).sort();
const words = (language: string, file: string): Words => JSON.parse(readFileSync(`${SRC}i18n/${language}/${file}`, "utf8"));
const flat = (node: Words, at = ""): string[] =>
  Object.entries(node).flatMap(([key, value]) => (typeof value === "string" ? [`${at}${key}=${holes(value)}`] : flat(value, `${at}${key}.`)));
const holes = (text: string) => (text.match(/{{\w+}}/g) ?? []).sort().join();

const sources = (readdirSync(SRC, { recursive: true }) as string[])
  .filter((file) => /\.tsx?$/.test(file) && !file.includes("test") && !file.endsWith(".d.ts"))
  .map((file) => ({ file, tree: ts.createSourceFile(file, readFileSync(SRC + file, "utf8"), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX) }));

function walk(node: ts.Node, see: (node: ts.Node) => void): void {
  see(node);
  node.forEachChild((child) => walk(child, see));
}

test("both languages have the same keys with the same holes", () => {
  expect(files("de")).toEqual(files("en"));
  for (const file of files("en")) expect(flat(words("de", file)), file).toEqual(flat(words("en", file)));
});

/** Text that a person would read, standing in the code. */
export function literals(tree: ts.SourceFile): string[] {
  const found: string[] = [];
  walk(tree, (node) => {
    if (ts.isJsxText(node) && /\p{L}{2}/u.test(node.text)) found.push(node.text.trim());
    if (!ts.isJsxAttribute(node) || !SHOWN.has(node.name.getText()) || !node.initializer) return;
    const value = ts.isJsxExpression(node.initializer) ? node.initializer.expression : node.initializer;
    if (value && ts.isStringLiteral(value) && /\p{L}{2}/u.test(value.text)) found.push(value.text);
  });
  return found;
}

test("no literal text stands in the page", () => {
  const bad = ts.createSourceFile("bad.tsx", '<p title="Hello">World {t("a")}</p>', ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
  expect(literals(bad)).toEqual(["Hello", "World"]);
  expect(sources.length).toBeGreaterThan(20);
  expect(sources.flatMap(({ file, tree }) => literals(tree).map((text) => `${file}: ${text}`))).toEqual([]);
});

/** The keys asked for by t("…") in a file, as "namespace:key", where they are written out. */
function asked(tree: ts.SourceFile): string[] {
  const found: string[] = [];
  let namespace = "shell";
  walk(tree, (node) => {
    if (!ts.isCallExpression(node)) return;
    const [first] = node.arguments;
    const name = node.expression.getText();
    if (name === "useTranslation") namespace = first && ts.isStringLiteral(first) ? first.text : "shell";
    if ((name === "t" || name === "i18next.t") && first && ts.isStringLiteral(first)) found.push(first.text.includes(":") ? first.text : `${namespace}:${first.text}`);
  });
  return found;
}

test("every key that is asked for has words", () => {
  const known = new Set(files("en").flatMap((file) => flat(words("en", file)).map((key) => `${file.slice(0, -5)}:${key.split("=")[0]?.replace(/_(one|other)$/, "")}`)));
  const missing = sources.flatMap(({ file, tree }) => asked(tree).filter((key) => !known.has(key)).map((key) => `${file}: ${key}`));
  expect(missing).toEqual([]);
});
