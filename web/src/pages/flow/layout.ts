import type { Shape } from "../../api/client";

export type Planned = Shape["PlannedStep"];

/** A step where it stands in the graph: `parent` is the step whose value it begins with. */
export interface Placed {
  step: Planned;
  layer: number;
  lane: number;
  parent: number | null;
  /** The name under which the value comes; null for that of the step before. */
  by: string | null;
}

export interface Layout {
  placed: Placed[];
  layers: number;
  lanes: number;
}

/**
 * Where each step of a plan stands. Each begins with one value, that of the step before it or a waypoint (`use`), so a
 * plan is a forest: layers are how far a value came, and the first step that uses a value stands right below it.
 */
export function layout(steps: Planned[]): Layout {
  const saved = new Map<string, number>();
  const placed: Placed[] = steps.map((step, index) => {
    const by = step.use && step.use !== "current" ? step.use : null;
    const parent = by === null ? index - 1 : (saved.get(by) ?? index - 1);
    if (step.save_as) saved.set(step.save_as, index);
    return { step, layer: 0, lane: 0, parent: parent < 0 ? null : parent, by };
  });
  const children: number[][] = steps.map(() => []);
  placed.forEach(({ parent }, index) => parent !== null && children[parent]?.push(index));
  // A subtree stands as far left as it can without standing on another: beyond what is taken in any of its layers.
  const taken: number[] = [];
  const heights = steps.map(() => 1);
  for (let index = steps.length - 1; index >= 0; index--) {
    for (const child of children[index] ?? []) heights[index] = Math.max(heights[index] ?? 1, 1 + (heights[child] ?? 1));
  }
  const waiting = placed.flatMap(({ parent }, index) => (parent === null ? [index] : [])).toReversed();
  while (waiting.length > 0) {
    const index = waiting.pop() ?? 0;
    const here = placed[index];
    if (!here) continue;
    const above = here.parent === null ? undefined : placed[here.parent];
    here.layer = above ? above.layer + 1 : 0;
    here.lane = above?.lane ?? 0;
    for (let layer = here.layer; layer < here.layer + (heights[index] ?? 1); layer++)
      here.lane = Math.max(here.lane, taken[layer] ?? 0);
    taken[here.layer] = here.lane + 1;
    waiting.push(...(children[index] ?? []).toReversed());
  }
  return {
    placed,
    layers: Math.max(0, ...placed.map((each) => each.layer)) + 1,
    lanes: Math.max(0, ...placed.map((each) => each.lane)) + 1,
  };
}
