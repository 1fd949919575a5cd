import assert from "node:assert/strict";
import { test } from "node:test";

import { Resampler, toFloat32, toInt16 } from "../../web/resample.js";

const BLOCK = 128;

function tone(hz, rateHz, seconds, amplitude = 1) {
  return Float32Array.from({ length: Math.round(rateHz * seconds) }, (_, n) => {
    return amplitude * Math.sin((2 * Math.PI * hz * n) / rateHz);
  });
}

function resample(samples, fromHz, toHz, block = BLOCK) {
  const resampler = new Resampler(fromHz, toHz);
  const output = new Float32Array(resampler.capacity(samples.length) + 1);
  let written = 0;
  for (let at = 0; at < samples.length; at += block) {
    written += resampler.process(samples.subarray(at, at + block), output.subarray(written));
  }
  return output.subarray(0, written);
}

/** Loudness in dB of full scale, without the filter's first and last milliseconds. */
function loudnessDb(samples, rateHz) {
  const inner = samples.subarray(Math.round(rateHz * 0.02), samples.length - Math.round(rateHz * 0.02));
  const power = inner.reduce((sum, sample) => sum + sample * sample, 0) / inner.length;
  return 10 * Math.log10(power * 2);
}

for (const fromHz of [44_100, 48_000, 96_000]) {
  test(`what lies above 12 kHz does not fold into the band, from ${fromHz} Hz`, () => {
    for (let hz = 12_000; hz < fromHz / 2; hz += 1_000) {
      const loudness = loudnessDb(resample(tone(hz, fromHz, 0.3), fromHz, 24_000), 24_000);
      assert.ok(loudness < -60, `${hz} Hz comes through at ${loudness.toFixed(1)} dB`);
    }
  });

  test(`speech passes unchanged, from ${fromHz} Hz`, () => {
    for (const hz of [60, 300, 1_000, 3_400, 8_000, 10_000]) {
      const loudness = loudnessDb(resample(tone(hz, fromHz, 0.3), fromHz, 24_000), 24_000);
      assert.ok(Math.abs(loudness) < 0.1, `${hz} Hz comes through at ${loudness.toFixed(2)} dB`);
    }
  });
}

for (const toHz of [44_100, 48_000]) {
  test(`raising the rate to ${toHz} Hz leaves no mirror image`, () => {
    // Of 10 kHz at 24 kHz the first image would stand at 14 kHz.
    const output = resample(tone(10_000, 24_000, 0.4), 24_000, toHz);
    const back = resample(output, toHz, 24_000);
    assert.ok(Math.abs(loudnessDb(back, 24_000)) < 0.2);
    const wanted = loudnessDb(output, toHz);
    assert.ok(Math.abs(wanted) < 0.1, `the tone itself is at ${wanted} dB`);
    const image = correlationDb(output, 14_000, toHz);
    assert.ok(image < -60, `the image is at ${image.toFixed(1)} dB`);
  });
}

function correlationDb(samples, hz, rateHz) {
  let [re, im] = [0, 0];
  const from = Math.round(rateHz * 0.05);
  const to = Math.round(rateHz * 0.35);
  for (let n = from; n < to; n++) {
    const hann = 1 - Math.cos((2 * Math.PI * (n - from)) / (to - from));
    re += hann * samples[n] * Math.cos((2 * Math.PI * hz * n) / rateHz);
    im += hann * samples[n] * Math.sin((2 * Math.PI * hz * n) / rateHz);
  }
  return 20 * Math.log10((2 * Math.hypot(re, im)) / (to - from));
}

for (const [fromHz, toHz] of [[44_100, 24_000], [48_000, 24_000], [24_000, 44_100], [24_000, 48_000], [22_050, 24_000]]) {
  test(`sixty seconds in blocks of 128 keep their length, ${fromHz} to ${toHz} Hz`, () => {
    const resampler = new Resampler(fromHz, toHz);
    const block = new Float32Array(BLOCK);
    const output = new Float32Array(resampler.capacity(BLOCK));
    let given = 0;
    let written = 0;
    while (given < 60 * fromHz) {
      written += resampler.process(block, output);
      given += BLOCK;
      assert.equal(written, Math.ceil((given * toHz) / fromHz));
    }
  });
}

test("the size of the blocks does not change the sound", () => {
  const samples = tone(1_234, 44_100, 0.2);
  const whole = resample(samples, 44_100, 24_000, samples.length);
  for (const block of [1, 7, 128, 441, 1_000]) {
    assert.deepEqual(resample(samples, 44_100, 24_000, block), whole);
  }
});

test("the delay is what it says it is", () => {
  const resampler = new Resampler(48_000, 24_000);
  const output = new Float32Array(2_400);
  const samples = tone(500, 48_000, 0.1);
  resampler.process(samples, output);
  const delay = resampler.delay(48_000);
  for (let n = 600; n < 1_800; n++) {
    const wanted = Math.sin(2 * Math.PI * 500 * (n / 24_000 - delay));
    assert.ok(Math.abs(output[n] - wanted) < 1e-3);
  }
});

test("a reset forgets the sound before it", () => {
  const resampler = new Resampler(24_000, 48_000);
  const output = new Float32Array(1_000);
  resampler.process(tone(400, 24_000, 0.01), output);
  resampler.reset();
  const count = resampler.process(new Float32Array(200), output);
  assert.deepEqual(output.subarray(0, count), new Float32Array(400));
});

test("a rate that is no rate is refused", () => {
  assert.throws(() => new Resampler(0, 24_000), /whole number of Hz, got 0/);
  assert.throws(() => new Resampler(24_000, 44_100.5), /got 44100.5/);
});

test("too loud samples are clipped, and 16 bits come back as they went", () => {
  assert.deepEqual(toInt16(new Float32Array([0, 1, -1, 3, -3, 0.5])), new Int16Array([0, 32767, -32767, 32767, -32767, 16384]));
  assert.deepEqual(toFloat32(new Int16Array([-32768, 0, 16384])), new Float32Array([-1, 0, 0.5]));
});
