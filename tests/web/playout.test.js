import assert from "node:assert/strict";
import { test } from "node:test";

import { Playout } from "../../web/playout.js";

const RATE_HZ = 48_000;
const QUANTUM = 128;

/** `ms` of a constant, whose every jump would be a click. */
function level(ms, value = 0.5) {
  return new Float32Array((RATE_HZ * ms) / 1000).fill(value);
}

function take(playout, ms) {
  const sound = [];
  const events = [];
  const output = new Float32Array(QUANTUM);
  while (sound.length < (RATE_HZ * ms) / 1000) {
    events.push(...playout.take(output));
    sound.push(...output);
  }
  return { sound, events };
}

const types = (events) => events.map(({ type }) => type);
const jumps = (sound) => sound.slice(1).map((sample, n) => Math.abs(sample - sound[n]));
const played = (sound) => sound.filter((sample) => sample !== 0).length;

test("nothing plays before the jitter buffer is filled", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(40));
  assert.equal(played(take(playout, 20).sound), 0);
  playout.add("a", 40, level(40));
  assert.ok(played(take(playout, 20).sound) > 0);
});

test("an answer shorter than the jitter buffer plays as soon as it has ended", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(20));
  playout.end("a");
  const { sound, events } = take(playout, 40);
  assert.equal(played(sound), RATE_HZ * 0.02);
  assert.deepEqual(events, [
    { type: "started", item: "a", playedMs: 0 },
    { type: "finished", item: "a", playedMs: 20 },
  ]);
});

test("the position is that of the server's audio, not of the wall", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 1000, level(100));
  take(playout, 48);
  assert.equal(playout.playedMs, 1048);
});

test("ducked, it plays low without a click, and as loud as before afterwards", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(300));
  assert.ok(take(playout, 50).sound.at(-1) === 0.5);
  playout.duck(true);
  const low = take(playout, 50).sound;
  assert.ok(low.at(-1) > 0 && low.at(-1) < 0.15);
  assert.ok(Math.max(...jumps([0.5, ...low])) < 0.001);
  playout.duck(false);
  const loud = take(playout, 50).sound;
  assert.equal(loud.at(-1), 0.5);
  assert.ok(Math.max(...jumps([low.at(-1), ...loud])) < 0.001);
});

test("what is cut while it is low does not grow loud in its fade", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(200));
  playout.duck(true);
  take(playout, 60);
  playout.clear();
  assert.ok(Math.max(...take(playout, 20).sound) < 0.15);
});

test("an answer that is held back runs dry without a gap being counted", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(80));
  take(playout, 20);
  playout.duck(true);
  take(playout, 120);
  playout.duck(false);
  playout.add("a", 80, level(80));
  assert.equal(playout.underruns, 0);
  assert.equal(playout.targetMs, 60);
  const { sound } = take(playout, 40);
  assert.equal(sound.at(-1), 0.5, "and goes on where it stopped, as loud as before");
});

test("a late end is no underrun", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(80));
  assert.deepEqual(types(take(playout, 120).events), ["started", "dry"]);
  playout.end("a");
  assert.deepEqual(types(take(playout, 10).events), ["finished"]);
  assert.equal(playout.underruns, 0);
});

test("a gap is counted, and the next wait is longer", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(80));
  take(playout, 120);
  playout.add("a", 80, level(80));
  assert.equal(playout.underruns, 1);
  assert.equal(played(take(playout, 20).sound), 0, "80 ms no longer suffice");
  playout.add("a", 160, level(40));
  assert.ok(played(take(playout, 20).sound) > 0);
});

test("the wait shrinks again after twenty calm seconds, and never below its start", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(80));
  take(playout, 100);
  for (let ms = 80; ms < 50_000; ms += 500) {
    playout.add("a", ms, level(500));
    take(playout, 490);
  }
  assert.equal(playout.targetMs, 60);
});

test("a cut fades within ten milliseconds and never jumps", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(300));
  take(playout, 100);
  const events = playout.clear();
  const { sound } = take(playout, 40);
  assert.equal(sound.findLastIndex((sample) => sample !== 0) < RATE_HZ * 0.01, true);
  const steps = sound.map((sample, n) => Math.abs(sample - (n === 0 ? 0.5 : sound[n - 1])));
  assert.ok(Math.max(...steps) < 0.01);
  const [{ type, item, playedMs }] = events;
  assert.deepEqual([type, item], ["cleared", "a"]);
  assert.ok(playedMs >= 108 && playedMs <= 112, `${playedMs} ms`);
});

test("what comes after a cut plays as a new answer", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(300));
  take(playout, 100);
  playout.clear();
  playout.add("b", 0, level(100));
  const { events } = take(playout, 50);
  assert.deepEqual(events, [{ type: "started", item: "b", playedMs: 0 }]);
});

test("an answer cut before its first sample was heard for no time at all", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(20));
  assert.deepEqual(playout.clear(), [{ type: "cleared", item: "a", playedMs: 0 }]);
  assert.deepEqual(playout.clear(), []);
});

test("one answer follows another without a gap", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(80));
  playout.end("a");
  playout.add("b", 0, level(80));
  playout.end("b");
  const { sound, events } = take(playout, 200);
  assert.equal(played(sound), RATE_HZ * 0.16);
  assert.deepEqual(types(events), ["started", "finished", "started", "finished"]);
});

test("a gap begins and ends without a click", () => {
  const playout = new Playout(RATE_HZ);
  playout.add("a", 0, level(81));
  const before = take(playout, 100).sound;
  playout.add("a", 81, level(200));
  const after = take(playout, 100).sound;
  const steps = (sound) => sound.slice(1).map((sample, n) => Math.abs(sample - sound[n]));
  // The first sample of an answer is speech, which begins as it begins.
  assert.ok(Math.max(...steps(before)) < 0.05);
  assert.ok(Math.max(...steps(after)) < 0.05);
});
