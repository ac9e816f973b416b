/** The map as a picture, drawn by WebGL; the list beside it says and does the same. */
import Graph from "graphology";
import Sigma from "sigma";
import { useEffect, useRef } from "react";
import type { Graph as MemoryMap } from "../../../api/queries/memories";
import { speakerName } from "../../../format";
import { layout } from "./layout";

interface Props {
  map: MemoryMap;
  selected: string | null;
  onSelect: (id: string | null) => void;
  /** Anything that changes the colours: drawn anew then. */
  scheme: string;
}

type Kind = MemoryMap["nodes"][number]["kind"];
const COLOURS: Record<Kind, string> = { person: "--speaker-0", recording: "--speaker-3", fact: "--speaker-2", note: "--speaker-1", tag: "--soft" };
const LABEL = 32;
/** A letter before the name tells the kinds apart without colour. */
const GLYPHS: Record<Kind, string> = { person: "☺ ", recording: "▸ ", fact: "◆ ", note: "✎ ", tag: "#" };

/** A variable of style.css as the canvas needs it: light-dark() is resolved by the browser. */
function colour(element: HTMLElement, name: string): string {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function graphOf(map: MemoryMap, element: HTMLElement): Graph {
  const graph = new Graph({ multi: true });
  const places = layout(map);
  const colours = Object.fromEntries(Object.entries(COLOURS).map(([kind, name]) => [kind, colour(element, name)]));
  const line = colour(element, "--edge");
  for (const { id, kind, label } of map.nodes) {
    const name = kind === "person" ? speakerName(label) : label;
    const cut = name.length > LABEL ? `${name.slice(0, LABEL)}…` : name;
    graph.addNode(id, { ...places.get(id), label: GLYPHS[kind] + cut, color: colours[kind], size: kind === "person" || kind === "recording" ? 9 : 6 });
  }
  for (const { source, target } of map.edges) if (graph.hasNode(source) && graph.hasNode(target)) graph.addEdge(source, target, { color: line, size: 1 });
  return graph;
}

/** The name of the node under the pointer, on a sheet of our colour. */
function hover(sheet: string, ink: string) {
  return (context: CanvasRenderingContext2D, data: { x: number; y: number; size: number; label?: string | null }) => {
    if (!data.label) return;
    context.font = "600 14px sans-serif";
    const width = context.measureText(data.label).width + 16;
    context.fillStyle = sheet;
    context.beginPath();
    context.roundRect(data.x + data.size, data.y - 14, width, 28, 8);
    context.fill();
    context.fillStyle = ink;
    context.fillText(data.label, data.x + data.size + 8, data.y + 5);
  };
}

export default function Canvas({ map, selected, onSelect, scheme }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const drawn = useRef<Sigma | null>(null);
  const chosen = useRef<string | null>(null);
  const select = useRef(onSelect);
  useEffect(() => void (select.current = onSelect));
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const sigma = draw(element, graphOf(map, element), chosen);
    sigma.on("clickNode", ({ node }) => select.current(node));
    sigma.on("clickStage", () => select.current(null));
    drawn.current = sigma;
    return () => {
      drawn.current = null;
      sigma.kill();
    };
  }, [map, scheme]);
  useEffect(() => {
    chosen.current = selected;
    const sigma = drawn.current;
    sigma?.refresh();
    const at = selected && sigma?.getNodeDisplayData(selected);
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (at) void sigma?.getCamera().animate({ x: at.x, y: at.y }, { duration: still ? 0 : 300 });
  }, [selected]);
  return <div className="mem-canvas" ref={box} aria-hidden="true" />;
}

function draw(element: HTMLElement, graph: Graph, chosen: { current: string | null }): Sigma {
  const [ink, sheet, faint] = [colour(element, "--ink"), colour(element, "--sheet"), colour(element, "--line")];
  const near = (id: string) => !chosen.current || !graph.hasNode(chosen.current) || id === chosen.current || graph.areNeighbors(id, chosen.current);
  return new Sigma(graph, element, {
    labelColor: { color: ink }, labelFont: "sans-serif", labelSize: 13, labelRenderedSizeThreshold: 5, allowInvalidContainer: true, defaultDrawNodeHover: hover(sheet, ink),
    nodeReducer: (id, data) => (near(id) ? { ...data, highlighted: id === chosen.current } : { ...data, color: faint, label: null }),
  });
}
