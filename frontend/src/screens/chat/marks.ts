/** Turns the marks of `marked` and the numbers of citations into elements. Runs after the sanitiser: what it makes is ours. */
import { MARK } from "./split";

interface Node {
  type: string;
  value?: string;
  tagName?: string;
  properties?: Record<string, unknown>;
  children?: Node[];
}

const span = (name: string, value: string, children: Node[]): Node => ({ type: "element", tagName: "span", properties: { [name]: value }, children });

function pieces(text: string): Node[] {
  const found: Node[] = [];
  let at = 0;
  for (const match of text.matchAll(MARK)) {
    if (match.index > at) found.push({ type: "text", value: text.slice(at, match.index) });
    const [whole, verdict, citation] = match;
    found.push(verdict !== undefined ? span("dataEvidence", verdict, []) : span("dataCitation", citation ?? "", [{ type: "text", value: whole }]));
    at = match.index + whole.length;
  }
  if (at < text.length) found.push({ type: "text", value: text.slice(at) });
  return found;
}

export function marks() {
  return function walk(node: Node): void {
    node.children?.forEach(walk); // first what is there: what is put in needs no more
    node.children = node.children?.flatMap((child) => (child.type === "text" ? pieces(child.value ?? "") : [child]));
  };
}
