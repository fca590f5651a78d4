import { element, svg } from './element';
import { count, figure, share } from './format';
import type { NumberStats, Quantiles, TopValue } from './profile-data';

const width = 220;
const height = 44;

type Point = readonly [value: number, below: number];

/** The points of the cumulative distribution that a column's statistics give. */
function points(stats: NumberStats, q: Quantiles): Point[] {
  return [
    [Number(stats.min), 0], [q.p1, 0.01], [q.p5, 0.05], [q.p25, 0.25], [q.p50, 0.5],
    [q.p75, 0.75], [q.p95, 0.95], [q.p99, 0.99], [Number(stats.max), 1],
  ];
}

/**
 * How the values of a column are spread: a histogram of even bins, as far as the
 * quantiles tell, over a strip of its middle half, its middle 90 % and its median. Its
 * ends are the 1 % and 99 % points, so that a stray value does not flatten the rest.
 */
export function spread(stats: NumberStats): Element | undefined {
  const q = stats.quantiles;
  if (!q) return undefined;
  const [from, to] = q.p99 > q.p1 ? [q.p1, q.p99] : [Number(stats.min), Number(stats.max)];
  if (!(to > from)) return undefined;
  const x = (v: number): number => (width * (Math.min(Math.max(v, from), to) - from)) / (to - from);
  const label = `Half of the values lie from ${figure(q.p25)} to ${figure(q.p75)}, nine tenths from ${figure(q.p5)} to ${figure(q.p95)}; the median is ${figure(q.p50)}`;
  return svg('svg', { class: 'spread', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label },
    svg('title', {}, label),
    ...bins(points(stats, q), from, to),
    svg('rect', { class: 'track', x: '0', y: '37', width: `${width}`, height: '2' }),
    box('tails', x(q.p5), x(q.p95), 36, 4),
    box('middle', x(q.p25), x(q.p75), 34, 8),
    svg('rect', { class: 'median', x: (x(q.p50) - 1).toFixed(1), y: '32', width: '2', height: '12' }));
}

function box(name: string, from: number, to: number, y: number, tall: number): SVGElement {
  return svg('rect', { class: name, x: from.toFixed(1), y: `${y}`, width: Math.max(1, to - from).toFixed(1), height: `${tall}`, rx: '2' });
}

function bins(curve: readonly Point[], from: number, to: number): SVGElement[] {
  const n = 22;
  const shares = Array.from({ length: n }, (_, i) =>
    below(curve, from + ((to - from) * (i + 1)) / n) - below(curve, from + ((to - from) * i) / n));
  const most = Math.max(...shares);
  const step = width / n;
  return shares.map((each, i) => {
    const tall = most > 0 ? Math.max(1, (28 * each) / most) : 1;
    return svg('rect', { class: 'bin', x: (i * step + 0.5).toFixed(1), y: (30 - tall).toFixed(1), width: (step - 1).toFixed(1), height: tall.toFixed(1) });
  });
}

/** The share of the values that are at most v, on straight lines between the points. */
function below(curve: readonly Point[], v: number): number {
  let last: Point = [curve[0]![0], 0];
  for (const point of curve) {
    if (v < point[0]) {
      const wide = point[0] - last[0];
      return wide > 0 ? last[1] + ((point[1] - last[1]) * (v - last[0])) / wide : last[1];
    }
    last = point;
  }
  return 1;
}

/** The most frequent values of a column as bars, and what share of the rows each has. */
export function frequent(top: readonly TopValue[], rows: number, most: number): Element {
  const largest = Math.max(1, ...top.map((t) => t.count));
  return element('ol', { class: 'frequent' }, ...top.slice(0, most).map((t) => {
    const shown = t.value === '' ? '(empty)' : t.value;
    return element('li', {},
      element('span', { class: 'value', title: shown }, shown),
      svg('svg', { class: 'share', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('rect', { class: 'track', x: '0', y: '0', width: '100', height: '6' }),
        svg('rect', { class: 'part', x: '0', y: '0', width: ((100 * t.count) / largest).toFixed(1), height: '6' })),
      element('span', { class: 'times', title: `${count(t.count)} times` }, share(t.count, rows)));
  }));
}

/** A part of a whole as one bar. */
export function portion(part: number, of: number): Element {
  return svg('svg', { class: 'portion', viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('rect', { class: 'track', x: '0', y: '0', width: '100', height: '6' }),
    svg('rect', { class: 'part', x: '0', y: '0', width: (of > 0 ? (100 * part) / of : 0).toFixed(1), height: '6' }));
}
