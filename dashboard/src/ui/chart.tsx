// A chart of stacked bars per day, or of lines; drawn by uPlot on a canvas, which says nothing to a screen reader:
// whoever shows one puts a table of the same numbers under it.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { short } from "../format";

export interface Series {
  name: string;
  values: number[];
  /** A custom property of the style sheet. */
  colour: string;
  /** Drawn as a line over the bars, not stacked. */
  line?: boolean;
}

interface Options {
  /** Seconds since 1970. */
  times: number[];
  series: Series[];
  label: string;
  height?: number;
  /** How an instant is written on the axis. */
  tick: (seconds: number) => string;
  /** Called with the number of the bar that was chosen. */
  choose?: (index: number) => void;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

export function Chart(options: Options) {
  const place = useRef<HTMLDivElement>(null);
  const height = options.height ?? 240;
  useEffect(() => {
    const root = place.current;
    if (!root) return;
    let drawn: uPlot | undefined;
    const draw = (): void => {
      drawn?.destroy();
      drawn = paint(root, options, height);
    };
    draw();
    const resized = new ResizeObserver(() => drawn?.setSize({ width: root.clientWidth, height }));
    resized.observe(root);
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      resized.disconnect();
      drawn?.destroy();
    };
  }, [options.times, options.series, height]);
  return <div ref={place} class={height < 200 ? "chart small" : "chart"} style={{ minHeight: `${height}px` }} role="img" aria-label={options.label} />;
}

function paint(root: HTMLElement, { times, series, tick, choose }: Options, height: number): uPlot {
  const style = getComputedStyle(root);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const bars = series.filter((one) => !one.line);
  // The topmost is drawn first, and those below it over it.
  const stacked = bars.map((_, index) => times.map((_, at) => bars.slice(0, index + 1).reduce((sum, one) => sum + (one.values[at] ?? 0), 0))).reverse();
  const tops = bars.toReversed();
  const lines = series.filter((one) => one.line);
  const paths = uPlot.paths.bars?.({ size: [0.72, 48], gap: 1 });
  // Half a bar beside the first and the last, which would be cut.
  const half = ((times[1] ?? (times[0] ?? 0) + 86_400) - (times[0] ?? 0)) / 2;
  const axis = { stroke: colour("--soft"), font: `11px ${style.fontFamily}`, ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
  const chart = new uPlot(
    {
      width: root.clientWidth,
      height,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
      scales: { x: { time: false, range: () => [(times[0] ?? 0) - half, (times.at(-1) ?? 0) + half] }, y: { range: (_chart, _low, high) => [0, Math.max(high * 1.06, 4)] } },
      series: [
        {},
        ...tops.map((one) => ({ label: one.name, fill: colour(one.colour), width: 0, points: { show: false }, ...(paths ? { paths } : {}) })),
        ...lines.map((one) => ({ label: one.name, stroke: colour(one.colour), width: 1.5, dash: [4, 3], points: { show: false } })),
      ],
      axes: [
        { ...axis, grid: { show: false }, values: (_chart, splits) => splits.map(tick), space: 64, size: 30, ...(times.length === 1 ? { splits: times } : {}) },
        { ...axis, size: 52, values: (_chart, splits) => splits.map((value) => (Number.isInteger(value) ? short(value) : "")) },
      ],
    },
    [times, ...stacked, ...lines.map((one) => one.values)],
    root,
  );
  if (choose) {
    chart.over.addEventListener("click", () => {
      if (typeof chart.cursor.idx === "number") choose(chart.cursor.idx);
    });
  }
  return chart;
}

/** A line of a few points, for a row of a table. */
export function Spark({ values }: { values: number[] }) {
  const most = Math.max(1, ...values);
  const step = values.length > 1 ? 94 / (values.length - 1) : 0;
  const points = values.map((value, index) => `${(1 + index * step).toFixed(1)},${(20 - (value / most) * 18).toFixed(1)}`).join(" ");
  return <svg class="spark" viewBox="0 0 96 22" aria-hidden="true"><polyline points={points} /></svg>;
}
