import assert from "node:assert/strict";
import { test } from "node:test";

import { texts } from "../../web/i18n.js";
import { Quality } from "../../web/quality.js";

/** One look's statistics, `seconds` into a call at 50 packets a second each way. */
function look(seconds, { lost = 0, lostOut = 0, jitter = 0.004, rtt = 0.03, bytes } = {}) {
  const sent = 50 * seconds;
  const emitted = 48_000 * seconds;
  return [
    { type: "inbound-rtp", kind: "audio", packetsReceived: sent - lost, packetsLost: lost, jitter,
      jitterBufferDelay: emitted * 0.06, jitterBufferEmittedCount: emitted },
    { type: "outbound-rtp", kind: "audio", packetsSent: sent },
    { type: "remote-inbound-rtp", kind: "audio", packetsLost: lostOut, roundTripTime: rtt },
    { type: "transport", selectedCandidatePairId: "chosen" },
    { type: "candidate-pair", id: "other", bytesReceived: 1, currentRoundTripTime: 9 },
    { type: "candidate-pair", id: "chosen", bytesReceived: bytes ?? sent * 80, currentRoundTripTime: 0.05 },
  ];
}

const rounded = (value) => Math.round(value * 10) / 10;

test("a quiet line is good, in numbers too", () => {
  const quality = new Quality();
  for (let second = 0; second < 3; second++) quality.take(look(second));
  const { rating, lossInPercent, lossOutPercent, jitterMs, roundTripMs, bufferMs } = quality.take(look(3));
  assert.equal(rating, "good");
  assert.deepEqual([lossInPercent, lossOutPercent, jitterMs, roundTripMs, rounded(bufferMs)], [0, 0, 4, 30, 60]);
});

test("loss is that of the last ten seconds, each way on its own", () => {
  const quality = new Quality();
  for (let second = 0; second <= 5; second++) quality.take(look(second, { lost: 3 * second }));
  const lossy = quality.take(look(6, { lost: 18, lostOut: 30 }));
  assert.equal(rounded(lossy.lossInPercent), 6);
  assert.equal(rounded(lossy.lossOutPercent), 10);
  assert.equal(lossy.rating, "poor");
  let later;
  for (let second = 7; second <= 17; second++) later = quality.take(look(second, { lost: 18, lostOut: 30 }));
  assert.deepEqual([later.lossInPercent, later.lossOutPercent, later.rating], [0, 0, "good"]);
});

for (const [worse, rating] of [
  [{ jitter: 0.045 }, "fair"], [{ jitter: 0.08 }, "poor"],
  [{ rtt: 0.4 }, "fair"], [{ rtt: 0.9 }, "poor"],
  [{ lost: 2 }, "fair"], [{ lost: 6 }, "poor"],
]) {
  test(`${JSON.stringify(worse)} is ${rating}, which has a word`, () => {
    const quality = new Quality();
    quality.take(look(0));
    assert.equal(quality.take(look(1, worse)).rating, rating);
    assert.ok(`quality-${rating}` in texts.en);
  });
}

test("one packet lost in a silence of few is not much loss", () => {
  const quality = new Quality();
  for (let second = 0; second <= 5; second++) quality.take(look(second));
  const [inbound] = look(5);
  const silent = (n, lost) => [{ ...inbound, packetsReceived: 250 + 2 * n, packetsLost: lost }, ...look(5 + n).slice(1)];
  for (let n = 1; n <= 20; n++) quality.take(silent(n, 0));
  const { lossInPercent, rating } = quality.take(silent(21, 1));
  assert.equal(rating, "good");
  assert.ok(lossInPercent < 2, String(lossInPercent));
});

test("before the server has reported, the round trip is the network's", () => {
  const stats = look(1).filter(({ type }) => type !== "remote-inbound-rtp");
  const { roundTripMs, lossOutPercent } = new Quality().take(stats);
  assert.deepEqual([roundTripMs, lossOutPercent], [50, null]);
});

test("nothing known is nothing claimed", () => {
  const { lossInPercent, lossOutPercent, jitterMs, roundTripMs, bufferMs } = new Quality().take([]);
  assert.deepEqual([lossInPercent, lossOutPercent, jitterMs, roundTripMs, bufferMs], Array(5).fill(null));
});

test("packets that came twice are no negative loss", () => {
  const quality = new Quality();
  quality.take(look(1, { lost: 5 }));
  assert.equal(quality.take(look(2, { lost: 3 })).lossInPercent, 0);
});

test("a line on which nothing comes at all is silent, second by second", () => {
  const quality = new Quality();
  quality.take(look(1, { bytes: 70 }));
  assert.equal(quality.take(look(2, { bytes: 70 })).silentS, 1);
  assert.equal(quality.take(look(3, { bytes: 70 })).silentS, 2);
  assert.equal(quality.take(look(4, { bytes: 71 })).silentS, 0);
});

test("a line that has been silent too long is not called good for what it was before", () => {
  const quality = new Quality();
  const ratings = [1, 2, 3, 4, 5, 6].map((second) => quality.take(look(second, { bytes: 70 })).rating);
  assert.deepEqual(ratings, ["good", "good", "good", "good", "poor", "poor"]);
});
