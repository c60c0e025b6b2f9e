import { useCallback, useEffect, useLayoutEffect, useRef, useState, useSyncExternalStore } from "react";

/** Browsers draw nothing beyond some 17 to 33 million pixels; a longer list is scrolled in proportion. */
const TALLEST = 10_000_000;
/** Rows that are drawn above and below those in view. */
const OVER = 6;

export interface RowWindow {
  /** What scrolls: to be given as `ref`, and the element itself. */
  scroller: (element: HTMLDivElement | null) => void;
  element: HTMLDivElement | null;
  /** The first row that is drawn, and the one after the last. */
  first: number;
  last: number;
  /** How tall the rows are for the scroll bar, and how far down those that are drawn begin, in pixels. */
  tall: number;
  above: number;
  /** How many rows fit into the view. */
  fit: number;
  /** Brings a row into view. */
  show: (row: number) => void;
}

/**
 * The rows of a long list that are in view, all of one height. `head` is how much of the scroller a fixed header covers.
 * A list that is taller than browsers can scroll moves by pixels with wheel and keys, and in proportion with its scroll bar.
 */
export function useRows(count: number, height: number, head = 0): RowWindow {
  const [element, scroller] = useState<HTMLDivElement | null>(null);
  const whole = count * height;
  const tall = Math.min(whole, TALLEST);
  const [view, setView] = useState(600);
  // How far down the list the view begins, and where the scroll bar stands for it.
  const place = useRef({ at: 0, bar: 0 });
  const [{ first, above }, setDrawn] = useState({ first: 0, above: 0 });
  const scale = whole > tall ? (whole - view) / Math.max(1, tall - view) : 1;

  const draw = useCallback(() => {
    const { at, bar } = place.current;
    const first = Math.max(0, Math.min(Math.floor(at / height) - OVER, count - 1));
    const above = scale === 1 ? first * height : bar + first * height - at;
    setDrawn((known) => (known.first === first && known.above === above ? known : { first, above }));
  }, [count, height, scale]);

  const move = useCallback(
    (to: number) => {
      if (!element) return;
      const at = Math.max(0, Math.min(to, whole - view));
      element.scrollTop = at / scale;
      place.current = { at, bar: element.scrollTop };
      draw();
    },
    [draw, element, scale, view, whole],
  );

  useLayoutEffect(() => {
    if (!element) return;
    const measure = () => setView(Math.max(0, element.clientHeight - head));
    measure();
    const watching = new ResizeObserver(measure);
    watching.observe(element);
    return () => watching.disconnect();
  }, [element, head]);

  useEffect(() => {
    if (!element) return;
    const scrolled = () => {
      const bar = element.scrollTop;
      if (scale !== 1 && Math.abs(bar - place.current.bar) < 1) return;
      place.current = { at: bar * scale, bar };
      draw();
    };
    const turned = (event: WheelEvent) => {
      if (scale === 1 || event.ctrlKey || event.shiftKey || event.deltaY === 0) return;
      event.preventDefault();
      element.scrollLeft += event.deltaX;
      move(place.current.at + event.deltaY * (event.deltaMode === 1 ? height : event.deltaMode === 2 ? view : 1));
    };
    scrolled();
    draw();
    element.addEventListener("scroll", scrolled, { passive: true });
    element.addEventListener("wheel", turned, { passive: false });
    return () => {
      element.removeEventListener("scroll", scrolled);
      element.removeEventListener("wheel", turned);
    };
  }, [draw, element, height, move, scale, view]);

  const show = useCallback(
    (row: number) => {
      const { at } = place.current;
      const top = row * height;
      if (top < at) move(top);
      else if (top + height > at + view) move(top + height - view);
    },
    [height, move, view],
  );

  const fit = Math.max(1, Math.floor(view / height));
  return { scroller, element, first, last: Math.min(count, first + fit + 2 * OVER + 2), tall, above, fit, show };
}

/** The pages that hold rows, at once when the next ones are wanted, and once the list stands still after a jump. */
export function usePagesOf(first: number, last: number, size: number): number[] {
  const from = Math.floor(first / size);
  const to = Math.max(from, Math.floor(Math.max(first, last - 1) / size));
  const [known, setKnown] = useState({ from, to });
  const near = from <= known.to + 1 && to >= known.from - 1;
  useEffect(() => {
    if (known.from === from && known.to === to) return;
    const timer = window.setTimeout(() => setKnown({ from, to }), near ? 0 : 80);
    return () => window.clearTimeout(timer);
  }, [from, to, near, known]);
  return Array.from({ length: known.to - known.from + 1 }, (_, index) => known.from + index);
}

const density = (): number => Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) || 32;

/** How high a row is: it follows the density that was chosen. */
export function useRowHeight(): number {
  return useSyncExternalStore(watchDensity, density);
}

function watchDensity(changed: () => void): () => void {
  const watching = new MutationObserver(changed);
  watching.observe(document.documentElement, { attributeFilter: ["data-density"] });
  return () => watching.disconnect();
}
