/** A line that moves: bytes over the last minutes. The words beside it say the same. */
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef } from "react";
import uPlot from "uplot";

interface Props {
  /** Seconds since the epoch. */
  times: number[];
  values: number[];
  most: number;
  label: string;
}

const HEIGHT = 72;

export default function Chart({ times, values, most, label }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    plot.current = new uPlot(options(element, most), [[], []], element);
    const fit = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    fit.observe(element);
    return () => {
      fit.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [most]);
  useEffect(() => plot.current?.setData([times, values]), [times, values]);
  return <div ref={box} className="chart" role="img" aria-label={label} />;
}

/** The colour is asked for with each stroke: the theme may change meanwhile. */
function options(element: HTMLElement, most: number): uPlot.Options {
  const ink = () => getComputedStyle(element).color;
  return {
    width: element.clientWidth || 200, height: HEIGHT, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false }, y: { range: () => [0, most || 1] } },
    axes: [{ show: false }, { show: false }],
    series: [{}, { stroke: ink, width: 2, fill: () => `color-mix(in srgb, ${ink()} 14%, transparent)`, points: { show: false } }],
  };
}
