/** Places for the nodes of the map: Fruchterman and Reingold (1991), from a spiral, so that the same memory looks the same. Pure. */
import type { Graph } from "../../../api/queries/memories";

export interface Place {
  x: number;
  y: number;
}

const ROUNDS = 120;
const GOLDEN = Math.PI * (3 - Math.sqrt(5));

export function layout({ nodes, edges }: Pick<Graph, "nodes" | "edges">, rounds = ROUNDS): Map<string, Place> {
  const places: Place[] = nodes.map((_, at) => ({ x: Math.sqrt(at + 1) * Math.cos(at * GOLDEN), y: Math.sqrt(at + 1) * Math.sin(at * GOLDEN) }));
  const index = new Map(nodes.map((node, at) => [node.id, at]));
  const pairs = edges.flatMap(({ source, target }) => {
    const [one, other] = [index.get(source), index.get(target)];
    return one === undefined || other === undefined || one === other ? [] : [[one, other] as const];
  });
  for (let round = 0; round < rounds; round++) step(places, pairs, 1.2 * (1 - round / rounds));
  return new Map(nodes.map((node, at) => [node.id, places[at] as Place]));
}

/** Everything pushes everything else away, edges pull, all is drawn to the middle; nothing moves farther than `heat`. */
function step(places: Place[], pairs: readonly (readonly [number, number])[], heat: number): void {
  const force = places.map(({ x, y }) => ({ x: -x * 0.15, y: -y * 0.15 }));
  for (let one = 0; one < places.length; one++) for (let other = one + 1; other < places.length; other++) push(places, force, one, other);
  for (const [one, other] of pairs) pull(places, force, one, other);
  places.forEach((place, at) => {
    const { x, y } = force[at] as Place;
    const length = Math.hypot(x, y) || 1;
    place.x += (x / length) * Math.min(length, heat);
    place.y += (y / length) * Math.min(length, heat);
  });
}

function push(places: Place[], force: Place[], one: number, other: number): void {
  const [a, b, f, g] = [places[one], places[other], force[one], force[other]] as [Place, Place, Place, Place];
  const [dx, dy] = [a.x - b.x, a.y - b.y];
  const square = dx * dx + dy * dy + 0.01;
  f.x += dx / square;
  f.y += dy / square;
  g.x -= dx / square;
  g.y -= dy / square;
}

function pull(places: Place[], force: Place[], one: number, other: number): void {
  const [a, b, f, g] = [places[one], places[other], force[one], force[other]] as [Place, Place, Place, Place];
  const [dx, dy] = [a.x - b.x, a.y - b.y];
  const strength = Math.hypot(dx, dy) * 0.12;
  f.x -= dx * strength;
  f.y -= dy * strength;
  g.x += dx * strength;
  g.y += dy * strength;
}
