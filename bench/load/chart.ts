// A picture of one sweep: rate, time to confirm and CPU time of a message, one line for each broker; axes are logarithmic where that
// says more.
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
  /** CPU time that a message costs the broker, in microseconds; null where it cannot be read. */
  readonly broker: number | null;
  /** The same of the load generator. */
  readonly generator: number | null;
}

type Scale = ScaleContinuousNumeric<number, number>;

const WIDTH = 720;
const PANEL = 170;
const LEFT = 78;
const RIGHT = 28;
const TOP = 44;
const GAP = 44;
/** Rates that differ by more than this factor are drawn on a logarithmic axis. */
const LINEAR_MAX = 20;
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
  const rates = rateScale(points.map((each) => each.rate));
  const middle = TOP + PANEL + GAP;
  const low = middle + PANEL + GAP;
  const p99 = logScale(
    points.map((each) => each.p99),
    middle,
  );
  const cpu = logScale(
    points.flatMap((each) => [each.broker, each.generator]),
    low,
  );
  const height = low + PANEL + 62;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${LEFT}" y="20" font-size="15" font-weight="600">${escaped(title)}</text>`,
    panel('messages a second', rates.scale, rates.ticks, x, values, TOP),
    panel('confirm p99, ms', p99, roundTicks(p99), x, values, middle),
    panel('CPU µs a message', cpu, roundTicks(cpu), x, values, low),
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${height - 22}" text-anchor="middle">${escaped(axis)}</text>`,
    `<text x="${WIDTH - RIGHT}" y="33" text-anchor="end" fill="#333">dashed: the load generator</text>`,
  ];
  targets.forEach((target, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const own = points.filter((each) => each.target === target);
    const drawn = (y: Scale, of: (point: Point) => number | null, dash = '') =>
      parts.push(curve(x, y, medians(own, values, of), colour, dash));
    drawn(rates.scale, (each) => each.rate);
    drawn(p99, (each) => each.p99);
    drawn(cpu, (each) => each.broker);
    drawn(cpu, (each) => each.generator, '4 4');
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

function curve(
  x: Scale,
  y: Scale,
  points: readonly (readonly [number, number])[],
  colour: string,
  dash: string,
): string {
  const path = line<readonly [number, number]>()
    .x((point) => x(point[0]))
    .y((point) => y(point[1]))(points);
  const dots = points.map(([a, b]) => `<circle cx="${x(a)}" cy="${y(b)}" r="3" fill="${colour}"/>`);
  const dashed = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
  return `<path d="${path ?? ''}" fill="none" stroke="${colour}" stroke-width="2"${dashed}/>\n${dots.join('\n')}`;
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

/** From 0 on; logarithmic where the least could not be told from 0. */
function rateScale(found: readonly number[]): { scale: Scale; ticks: number[] } {
  const numbers = found.filter((each) => each > 0);
  const greatest = Math.max(1, ...numbers);
  if (greatest > LINEAR_MAX * Math.min(...numbers)) {
    const scale = logScale(numbers, TOP);
    return { scale, ticks: roundTicks(scale) };
  }
  const scale = scaleLinear()
    .domain([0, greatest * 1.08])
    .range([TOP + PANEL, TOP]);
  return { scale, ticks: scale.ticks(5) };
}

/** Logarithmic, from the least to the greatest of the values. */
function logScale(found: readonly (number | null)[], top: number): Scale {
  const numbers = found.filter((each): each is number => each !== null && each > 0);
  const least = numbers.length === 0 ? 1 : Math.min(...numbers);
  const greatest = numbers.length === 0 ? 1 : Math.max(...numbers);
  return scaleLog()
    .domain([least * 0.7, greatest * 1.4])
    .range([top + PANEL, top]);
}

/** 1, 2 and 5 of every power of ten, or the powers alone where there are many: a logarithmic axis has room for no more. */
function roundTicks(scale: Scale): number[] {
  const ticks = scale.ticks(4);
  const round = ticks.filter((tick) => /^[125]/.test(tick.toExponential()));
  return round.length <= 7 ? round : round.filter((tick) => /^1/.test(tick.toExponential()));
}

function short(value: number): string {
  if (value >= 2 ** 20 && value % 2 ** 20 === 0) return `${value / 2 ** 20} Mi`;
  if (value >= 1_024 && value % 1_024 === 0) return `${value / 1_024} Ki`;
  if (value >= 1_000_000) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (value >= 1_000) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

function escaped(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;');
}
