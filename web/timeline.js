// Where the time of the last turns went: figures and the waterfall's geometry. Pure.

export const FIGURES = ["partial", "final", "tts_start"];

/** Nearest rank, as the server counts: a value that was really measured; null of none. */
export function percentile(values, percent) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent * sorted.length) / 100) - 1)];
}

/** @returns {Record<string, {p50: number | null, p95: number | null, p99: number | null, count: number}>} */
export function figures(turns) {
  const of = (name) => turns.map((turn) => turn[`${name}_ms`]).filter(Number.isFinite);
  return Object.fromEntries(FIGURES.map((name) => [name, summary(of(name))]));
}

function summary(values) {
  return {
    p50: percentile(values, 50),
    p95: percentile(values, 95),
    p99: percentile(values, 99),
    count: values.length,
  };
}

/** The end of the scale: the next of 1, 2, 5 times a power of ten, in fifths. */
export function scaleMs(longestMs) {
  if (!(longestMs > 0)) return 100;
  const power = 10 ** Math.floor(Math.log10(longestMs));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((end) => end >= longestMs);
}

/**
 * One row a turn, newest first; all on one scale, so that rows can be compared.
 *
 * @param {object[]} turns `kaiwa.turn.timeline` events, oldest first
 * @returns {{scaleMs: number, rows: {turn: number, outcome: string, totalMs: number,
 *     bars: {name: string, ms: number, left: number, width: number}[]}[]}} left, width: 0..1
 */
export function waterfall(turns, most) {
  const shown = turns.slice(-most).reverse();
  const end = scaleMs(Math.max(0, ...shown.map(total)));
  const rows = shown.map((turn) => ({
    turn: turn.turn,
    outcome: turn.outcome,
    cutInMs: turn.cut_in_ms ?? null,
    totalMs: total(turn),
    bars: bars(turn.spans, end),
  }));
  return { scaleMs: end, rows };
}

function total(turn) {
  return turn.spans.reduce((sum, span) => sum + span.ms, 0);
}

function bars(spans, end) {
  let left = 0;
  return spans.map(({ name, ms }) => {
    const bar = { name, ms, left: left / end, width: ms / end };
    left += ms;
    return bar;
  });
}
