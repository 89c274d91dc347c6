// Medians, spreads and ratios of many runs as one table for people.
// Owns the arithmetic over runs and the layout; knows no broker.

import type { Metric } from './bench.ts';

/** One run as the table needs it. */
export interface Row {
  readonly workload: string;
  readonly label: string;
  readonly metrics: readonly Metric[];
}

/** Middle value; the mean of the two middle ones for an even count. @throws Error for none */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no values');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** A number with as many digits as people read. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3);
}

interface Cell {
  readonly text: string;
  readonly value: number | null;
}

function cell(runs: readonly Metric[]): Cell {
  if (runs.length === 0) return { text: '-', value: null };
  const values = runs.map((run) => run.value);
  const middle = median(values);
  const spread = values.length > 1 ? ` (${short(Math.min(...values))}–${short(Math.max(...values))})` : '';
  return { text: `${short(middle)}${spread}`, value: middle };
}

function cpu(runs: readonly Metric[], whose: 'broker' | 'generator'): number | null {
  const values: number[] = [];
  for (const run of runs) {
    const value = run.cpu?.[whose];
    if (typeof value === 'number' && Number.isFinite(value)) values.push(value);
  }
  return values.length === 0 ? null : median(values);
}

/** What the generator cost, and what share that is of the broker's cost: with much more than a third it measures itself too. */
function generatorCpu(runs: readonly Metric[]): string {
  const own = cpu(runs, 'generator');
  const broker = cpu(runs, 'broker');
  if (own === null) return '';
  return broker === null || broker === 0
    ? short(own)
    : `${short(own)} (${Math.round((own / broker) * 100)} %)`;
}

function others(runs: readonly Metric[]): string {
  const values = runs.flatMap((run) => (run.othersCores === null ? [] : [run.othersCores]));
  return values.length === 0 ? '' : short(Math.max(...values));
}

/** The table in Markdown: a line per number of a workload. The first label is "ours" in the ratio. */
export function table(rows: readonly Row[], labels: readonly string[]): string {
  const cpuHeads = labels.map((label) => `CPU s/M ${label}`);
  const heads = ['workload', 'number', 'unit', ...labels];
  if (labels.length > 1) heads.push('ratio');
  heads.push(...cpuHeads, 'CPU s/M generator', 'others, cores');
  const lines: string[][] = [];
  const workloads = [...new Set(rows.map((row) => row.workload))];
  for (const workload of workloads) {
    const names = new Map<string, Metric>();
    for (const row of rows) {
      if (row.workload === workload) for (const metric of row.metrics) names.set(metric.name, metric);
    }
    let first = true;
    for (const [name, sample] of names) {
      const of = (label: string) =>
        rows
          .filter((row) => row.workload === workload && row.label === label)
          .flatMap((row) => row.metrics.filter((metric) => metric.name === name));
      const all = labels.map(of);
      const cells = all.map(cell);
      const line = [first ? workload : '', name, sample.unit, ...cells.map((each) => each.text)];
      if (labels.length > 1) line.push(ratio(cells[0]!, cells[1]!, sample));
      for (const runs of all) {
        const broker = cpu(runs, 'broker');
        line.push(broker === null ? '' : short(broker));
      }
      line.push(all.map(generatorCpu).join(' / '));
      line.push(all.map(others).join(' / '));
      lines.push(line.map((text) => (/^[ /]*$/.test(text) ? '' : text)));
      first = false;
    }
  }
  return layout([heads, ...lines]);
}

function ratio(ours: Cell, theirs: Cell, sample: Metric): string {
  if (ours.value === null || theirs.value === null || theirs.value === 0) return '-';
  const value = ours.value / theirs.value;
  const good = sample.better === 'higher' ? value >= 1 : value <= 1;
  return `${value.toFixed(2)}${good ? '' : ' !'}`;
}

function layout(lines: readonly string[][]): string {
  const widths = lines[0]!.map((_, column) => Math.max(3, ...lines.map((line) => line[column]!.length)));
  const pad = (line: readonly string[]) =>
    `| ${line.map((text, i) => (i < 3 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i < 3 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [pad(lines[0]!), rule, ...lines.slice(1).map(pad)].join('\n');
}
