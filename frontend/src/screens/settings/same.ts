/** What a person typed from paper and what was shown: spaces, dashes and capitals do not matter. */
export function same(typed: string, shown: string): boolean {
  const bare = (text: string) => text.normalize("NFKC").replace(/[\s\p{Pd}]/gu, "").toLowerCase();
  return bare(typed) === bare(shown) && bare(shown) !== "";
}

/** A name that must be typed to the letter; only the spaces around it do not count. */
export const typed = (given: string, name: string): boolean => given.trim().normalize() === name.normalize();
