import assert from "node:assert/strict";
import { test } from "node:test";

import { HeardClock } from "../../web/heard-clock.js";

test("what has been heard runs with the time, less what waits in the jitter buffer", () => {
  const clock = new HeardClock();
  clock.delayMs = 60;
  clock.begin(1000);
  assert.deepEqual([1000, 1050, 1060, 1500].map((now) => clock.playedMs(now)), [0, 0, 0, 440]);
});

test("held back, what is under way is still heard, and then nothing more", () => {
  const clock = new HeardClock();
  clock.delayMs = 60;
  clock.begin(0);
  clock.hold(true, 500);
  assert.deepEqual([500, 530, 560, 2000].map((now) => clock.playedMs(now)), [440, 470, 500, 500]);
  clock.hold(false, 3000);
  assert.deepEqual([3000, 3030, 3060, 3560].map((now) => clock.playedMs(now)), [500, 500, 500, 1000]);
});

test("saying the same twice changes nothing", () => {
  const clock = new HeardClock();
  clock.begin(0);
  clock.hold(false, 100);
  clock.hold(true, 200);
  clock.hold(true, 300);
  assert.equal(clock.playedMs(400), 200);
});

test("an answer begins at its own start", () => {
  const clock = new HeardClock();
  clock.begin(0);
  clock.begin(5000);
  assert.equal(clock.playedMs(5100), 100);
});
