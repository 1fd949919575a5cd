import assert from "node:assert/strict";
import { test } from "node:test";

import { figures, percentile, scaleMs, waterfall } from "../../web/timeline.js";

const turn = (number, ...spans) => ({
  turn: number,
  outcome: "completed",
  spans: spans.map(([name, ms]) => ({ name, ms })),
  partial_ms: 200,
  final_ms: null,
  tts_start_ms: number * 100,
  cut_in_ms: null,
});

test("percentiles are values that were measured, by nearest rank", () => {
  const values = [40, 10, 30, 20];
  assert.equal(percentile(values, 50), 20);
  assert.equal(percentile(values, 95), 40);
  assert.equal(percentile(Array.from({ length: 20 }, (_, n) => n + 1), 95), 19);
  assert.equal(percentile([7], 99), 7);
  assert.equal(percentile([], 50), null);
  assert.deepEqual(values, [40, 10, 30, 20], "the values stay in their order");
});

test("turns that never reached a figure do not count in it", () => {
  const { partial, final, tts_start } = figures([turn(1), turn(2), turn(3)]);
  assert.equal(partial.count, 3);
  assert.deepEqual(final, { p50: null, p95: null, p99: null, count: 0 });
  assert.equal(tts_start.p50, 200);
});

test("bars touch, begin at the end of speech and share one scale, newest first", () => {
  const { rows, scaleMs: end } = waterfall(
    [turn(1, ["endpoint", 300], ["tts_start", 100]), turn(2, ["endpoint", 500], ["final", 250])],
    8,
  );
  assert.equal(end, 800);
  assert.deepEqual(rows.map((row) => row.turn), [2, 1]);
  assert.deepEqual(rows[1].bars, [
    { name: "endpoint", ms: 300, left: 0, width: 0.375 },
    { name: "tts_start", ms: 100, left: 0.375, width: 0.125 },
  ]);
  assert.equal(rows[0].totalMs, 750);
  for (const { bars } of rows) {
    const last = bars.at(-1);
    assert.ok(last.left + last.width <= 1);
  }
});

test("a turn without spans is a row without bars", () => {
  const { rows } = waterfall([{ ...turn(5), outcome: "no_speech" }], 8);
  assert.deepEqual(rows[0].bars, []);
  assert.equal(rows[0].outcome, "no_speech");
});

test("only the newest turns are shown", () => {
  const turns = Array.from({ length: 20 }, (_, n) => turn(n, ["endpoint", 10]));
  assert.deepEqual(waterfall(turns, 3).rows.map((row) => row.turn), [19, 18, 17]);
});

test("the scale ends just behind the longest turn, at a round number", () => {
  assert.equal(scaleMs(0), 100);
  assert.equal(scaleMs(552), 600);
  assert.equal(scaleMs(1_000), 1_000);
  assert.equal(scaleMs(1_001), 1_500);
});
