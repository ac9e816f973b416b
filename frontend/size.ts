/** Fails the build where the page has grown too heavy to open on a phone. */
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

export const LIMIT_KB = 250;

/** What the browser must have before anything shows: the entry and all that it imports at once, gzipped. */
export function initialSize(): Plugin {
  return {
    name: "initial-size",
    apply: "build",
    generateBundle(_, bundle) {
      const seen = new Set<string>();
      const visit = (name: string): number => {
        const chunk = bundle[name];
        if (seen.has(name) || chunk?.type !== "chunk") return 0;
        seen.add(name);
        return gzipSync(chunk.code).length + chunk.imports.reduce((sum, each) => sum + visit(each), 0);
      };
      const entries = Object.values(bundle).filter((each) => each.type === "chunk" && each.isEntry);
      const total = entries.reduce((sum, each) => sum + visit(each.fileName), 0) / 1000;
      if (total > LIMIT_KB) this.error(`The first JavaScript is ${total.toFixed(0)} kB gzipped, ${LIMIT_KB} kB at most: import() what is not needed at once.`);
      this.info(`the first JavaScript: ${total.toFixed(0)} of ${LIMIT_KB} kB gzipped`);
    },
  };
}
