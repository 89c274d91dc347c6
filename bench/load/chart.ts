// A picture of one sweep: rate above, time to confirm below, one line for each broker, both axes logarithmic where that says more.
// Owns the SVG. Scales and lines come from d3; knows no broker and no file.

import { type ScaleContinuousNumeric, scaleLinear, scaleLog, scaleSymlog } from 'd3-scale';
import { line } from 'd3-shape';

/** One measured point. */
export interface Point {
  readonly target: string;
  /** What was varied. */
  readonly value: number;
  /** Messages a second. */
  readonly rate: number;
  /** Milliseconds; null where there is none. */
  readonly p99: number | null;
}

type Scale = ScaleContinuousNumeric<number, number>;

const WIDTH = 720;
const PANEL = 210;
const LEFT = 78;
const RIGHT = 20;
const TOP = 44;
const GAP = 46;
/** Told apart by people who see colours differently, and on white and dark pages. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7'];

/** The picture as SVG text. Several points of one broker at one value are shown by their median. */
export function drawSweep(title: string, axis: string, points: readonly Point[]): string {
  const targets = [...new Set(points.map((each) => each.target))];
  const values = [...new Set(points.map((each) => each.value))].sort((a, b) => a - b);
  const last = values[values.length - 1]!;
  // Symmetric logarithm: it can begin at 0.
  const x: Scale = (values[0] === 0 ? scaleSymlog().constant(300) : scaleLog())
    .domain([values[0]!, last])
    .range([LEFT, WIDTH - RIGHT]);
  const rates = scaleLinear()
    .domain([0, Math.max(...points.map((each) => each.rate)) * 1.08])
    .range([TOP + PANEL, TOP]);
  const times = points.map((each) => each.p99 ?? 0).filter((each) => each > 0);
  const low = TOP + PANEL + GAP;
  const p99 = scaleLog()
    .domain([Math.min(...times, 1) * 0.8, Math.max(...times, 2) * 1.2])
    .range([low + PANEL, low]);
  const height = low + PANEL + 62;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${LEFT}" y="20" font-size="15" font-weight="600">${escaped(title)}</text>`,
    panel('messages a second', rates, rates.ticks(5), x, values, TOP),
    panel('confirm p99, ms', p99, p99.ticks(4).filter(isRound), x, values, low),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 22}" text-anchor="middle">${escaped(axis)}</text>`,
  ];
  targets.forEach((target, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const own = points.filter((each) => each.target === target);
    parts.push(
      curve(
        x,
        rates,
        medians(own, values, (each) => each.rate),
        colour,
      ),
    );
    parts.push(
      curve(
        x,
        p99,
        medians(own, values, (each) => each.p99),
        colour,
      ),
    );
    const at = LEFT + i * 180;
    parts.push(`<rect x="${at}" y="28" width="12" height="3" fill="${colour}"/>`);
    parts.push(`<text x="${at + 18}" y="33" fill="#333">${escaped(target)}</text>`);
  });
  parts.push('</svg>\n');
  return parts.join('\n');
}

/** Axes, grid and labels of one half of the picture. */
function panel(
  name: string,
  y: Scale,
  ticks: readonly number[],
  x: Scale,
  values: readonly number[],
  top: number,
): string {
  const bottom = top + PANEL;
  const parts = [
    `<text x="16" y="${top + PANEL / 2}" transform="rotate(-90 16 ${top + PANEL / 2})" text-anchor="middle">${name}</text>`,
    `<path d="M${LEFT} ${top}V${bottom}H${WIDTH - RIGHT}" fill="none" stroke="#333"/>`,
  ];
  for (const tick of ticks) {
    parts.push(`<path d="M${LEFT} ${y(tick)}H${WIDTH - RIGHT}" stroke="#ddd"/>`);
    parts.push(
      `<text x="${LEFT - 6}" y="${y(tick) + 4}" text-anchor="end" fill="#333">${short(tick)}</text>`,
    );
  }
  for (const value of values) {
    parts.push(`<path d="M${x(value)} ${bottom}v5" stroke="#333"/>`);
    parts.push(
      `<text x="${x(value)}" y="${bottom + 18}" text-anchor="middle" fill="#333">${short(value)}</text>`,
    );
  }
  return parts.join('\n');
}

function curve(x: Scale, y: Scale, points: readonly (readonly [number, number])[], colour: string): string {
  const path = line<readonly [number, number]>()
    .x((point) => x(point[0]))
    .y((point) => y(point[1]))(points);
  const dots = points.map(([a, b]) => `<circle cx="${x(a)}" cy="${y(b)}" r="3" fill="${colour}"/>`);
  return `<path d="${path ?? ''}" fill="none" stroke="${colour}" stroke-width="2"/>\n${dots.join('\n')}`;
}

function medians(
  points: readonly Point[],
  values: readonly number[],
  of: (point: Point) => number | null,
): [number, number][] {
  const result: [number, number][] = [];
  for (const value of values) {
    const found: number[] = [];
    for (const point of points) {
      const number = point.value === value ? of(point) : null;
      if (number !== null && number > 0) found.push(number);
    }
    found.sort((a, b) => a - b);
    if (found.length > 0) result.push([value, found[Math.floor(found.length / 2)]!]);
  }
  return result;
}

/** 1, 2 and 5 of every power of ten: a logarithmic axis has room for no more. */
function isRound(tick: number): boolean {
  return /^[125]/.test(tick.toExponential());
}

function short(value: number): string {
  if (value >= 1_000_000) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1_000) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
}
