import assert from "node:assert/strict";
import { test } from "node:test";

import { Microphone } from "../../web/microphone.js";

const FRAMES_A_SECOND = 50;

/** A microphone whose device is open, and what it tells. */
function openMicrophone() {
  const microphone = new Microphone({});
  const told = [];
  microphone.addEventListener("problem", ({ detail }) => told.push(detail.code));
  microphone.addEventListener("fine", () => told.push("fine"));
  const hear = (seconds, peak) => {
    for (let i = 0; i < seconds * FRAMES_A_SECOND; i++) {
      microphone.receive({ pcm: null, peak, rms: peak / 2 });
    }
  };
  return { microphone, told, hear };
}

test("a microphone that has never given a sound is said to be silent, until it gives one", () => {
  const { told, hear } = openMicrophone();
  hear(4.9, 0);
  assert.deepEqual(told, []);
  hear(0.2, 0);
  assert.deepEqual(told, ["mic-silent"]);
  hear(0.02, 0.01);
  assert.deepEqual(told, ["mic-silent", "fine"]);
});

test("one that was heard may be silent: noise suppression makes pauses of nothing", () => {
  const { told, hear } = openMicrophone();
  for (let turn = 0; turn < 5; turn++) {
    hear(2, 0.2);
    hear(30, 0);
  }
  assert.deepEqual(told, []);
});

test("one that was heard and gives not one bit for a minute is dead", () => {
  const { told, hear } = openMicrophone();
  hear(2, 0.2);
  hear(61, 0);
  assert.deepEqual(told, ["mic-silent"]);
  hear(0.02, 0.2);
  assert.deepEqual(told, ["mic-silent", "fine"]);
});

test("next to nothing for long is a quiet room, of a microphone that was heard", () => {
  const { told, hear } = openMicrophone();
  hear(2, 0.2);
  hear(120, 5e-6);
  assert.deepEqual(told, []);
});

test("another device has not been heard yet", () => {
  const { microphone, told, hear } = openMicrophone();
  hear(2, 0.2);
  microphone.heardFrom("other");
  hear(5.1, 0);
  assert.deepEqual(told, ["mic-silent"]);
});

test("the same device with other processing has been", () => {
  const { microphone, told, hear } = openMicrophone();
  microphone.heardFrom("one");
  hear(2, 0.2);
  microphone.heardFrom("one");
  hear(30, 0);
  assert.deepEqual(told, []);
});

test("a muted microphone is no silent one", () => {
  const { microphone, told, hear } = openMicrophone();
  microphone.muted = true;
  hear(120, 0);
  assert.deepEqual(told, []);
});
