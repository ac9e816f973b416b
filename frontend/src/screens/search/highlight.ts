/** Which parts of a passage are words that were asked for. */
export interface Part {
  text: string;
  found: boolean;
}

/** Shorter words ("a", "is") stand everywhere and would only make the text restless. */
const SHORTEST = 3;
const IDEOGRAPH = /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}/u;

const plain = (word: string) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** The words of a query that are worth marking. */
export function terms(query: string): string[] {
  const words = query.match(/[\p{L}\p{N}][\p{L}\p{M}\p{N}'’-]*/gu) ?? [];
  return [...new Set(words.map((word) => word.toLowerCase()))].filter((word) => [...word].length >= SHORTEST || IDEOGRAPH.test(word));
}

/** The text in parts; a word counts from its beginning, so "citizen" also marks "citizens". */
export function highlight(text: string, query: string): Part[] {
  const wanted = terms(query);
  if (!wanted.length) return [{ text, found: false }];
  const either = wanted.sort((a, b) => b.length - a.length).map((word) => (IDEOGRAPH.test(word) ? plain(word) : `(?<![\\p{L}\\p{N}])${plain(word)}[\\p{L}\\p{M}\\p{N}]*`));
  const parts = text.split(new RegExp(`(${either.join("|")})`, "giu"));
  return parts.map((part, n) => ({ text: part, found: n % 2 === 1 })).filter((part) => part.text);
}
