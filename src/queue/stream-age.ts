// Ages as RabbitMQ writes them: x-max-age of a stream, x-stream-offset of its consumers.

const UNIT_MS: Readonly<Record<string, number>> = {
  Y: 365 * 86_400_000,
  M: 30 * 86_400_000,
  D: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
};

/** An age such as `7D`: an integer above 0 and one of the units Y M D h m s (RabbitMQ). @returns milliseconds, null for anything else */
export function ageMs(text: string): number | null {
  const match = /^([0-9]+)([YMDhms])$/.exec(text);
  if (match === null) return null;
  const count = Number(match[1]);
  return count === 0 ? null : count * UNIT_MS[match[2]!]!;
}
