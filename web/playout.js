// What the speaker plays next, and how much of it has been played. Pure: told what came and how
// many samples the sound card wants.
//
//   empty ──add──▶ filling ──target reached, or item ended──▶ playing ──all played──▶ empty
//     ▲               ▲                                          │ │
//     │               └────────────── ran dry ───────────────────┘ │
//     └──────────────── clear (a short fade is left over) ─────────┘
//
// Ducked, it plays low, and running dry is no gap: the server holds the answer back until it is sure
// that the caller means to speak.
//
// Positions are milliseconds into an item's audio, as the server counts them.

const FADE_MS = 8; // Long enough not to click, short enough not to be heard as speech.
const START_MS = 60;
const MOST_MS = 300; // The server is never further ahead than this.
const STEP_MS = 40;
const DUCKED = 0.15; // Of the volume: low enough to speak over, and still there.
const DUCK_MS = 25;
const CALM_MS = 20_000; // Played without a gap, after which the wait shrinks again.

export class Playout {
  /** @param {number} rateHz of the samples given and taken. */
  constructor(rateHz) {
    this.rateHz = rateHz;
    this.fadeSamples = Math.round((FADE_MS * rateHz) / 1000);
    this.targetMs = START_MS;
    this.underruns = 0;
    this.calmSamples = 0; // played since the last gap
    this.fadeOut = new Float32Array(0); // what is left of a cleared item's last milliseconds
    this.isDucked = false;
    this.gain = 1;
    this.empty();
  }

  empty() {
    this.state = "empty";
    this.chunks = []; // {item, startMs, samples, taken}
    this.ended = new Set();
    this.queued = 0;
    this.item = null; // the one being played
    this.playedMs = 0; // of it
    this.fadeIn = 0;
    this.isDry = false;
  }

  get bufferedMs() {
    return (this.queued * 1000) / this.rateHz;
  }

  /** The next samples of an item, which begin `startMs` into it. */
  add(item, startMs, samples) {
    if (samples.length === 0) return;
    // Only samples that come too late show that a gap was one, and not the end.
    if (this.isDry && item === this.item && !this.ended.has(item)) this.adapt();
    this.isDry = false;
    this.chunks.push({ item, startMs, samples, taken: 0 });
    this.queued += samples.length;
    if (this.state === "empty") this.state = "filling";
  }

  /** No more samples of this item will come, but for what the caller still adds in this step. */
  end(item) {
    this.ended.add(item);
  }

  /** The caller may be speaking; or no longer. */
  duck(isDucked) {
    this.isDucked = isDucked;
    if (isDucked) this.isDry = false;
  }

  /**
   * Stop at once: what is queued is dropped, but for a fade of a few milliseconds.
   *
   * @returns {object[]} the event that says how much of the item will have been played
   */
  clear() {
    if (this.state === "empty") return [];
    this.item ??= this.chunks[0]?.item ?? null;
    if (this.state === "playing") {
      const fade = new Float32Array(this.fadeSamples);
      const count = this.copy(fade, []);
      for (let i = 0; i < count; i++) fade[i] *= this.gain * (1 - (i + 1) / count);
      this.fadeOut = fade.subarray(0, count);
    }
    return [this.stop("cleared")];
  }

  /**
   * Fill `output`; silence where there is nothing.
   *
   * @param {Float32Array} output
   * @returns {{type: "started" | "finished" | "dry", item: string, playedMs: number}[]}
   */
  take(output) {
    output.fill(0);
    if (this.fadeOut.length > 0) {
      output.set(this.fadeOut.subarray(0, output.length));
      this.fadeOut = this.fadeOut.subarray(output.length);
      return [];
    }
    const events = [];
    if (this.state === "filling" && this.isReady()) this.state = "playing";
    if (this.state === "playing") {
      const written = this.copy(output, events);
      this.rampIn(output, written);
      this.rampVolume(output, written);
      this.relax(written);
      if (this.chunks.length === 0) this.runDry(output, written, events);
    } else if (this.state === "filling" && this.chunks.length === 0 && this.ended.has(this.item)) {
      events.push(this.stop("finished"));
    }
    return events;
  }

  copy(output, events) {
    let written = 0;
    while (written < output.length && this.chunks.length > 0) {
      const chunk = this.chunks[0];
      if (chunk.item !== this.item) this.begin(chunk.item, events);
      const count = Math.min(output.length - written, chunk.samples.length - chunk.taken);
      output.set(chunk.samples.subarray(chunk.taken, chunk.taken + count), written);
      written += count;
      chunk.taken += count;
      this.queued -= count;
      this.playedMs = chunk.startMs + (chunk.taken * 1000) / this.rateHz;
      if (chunk.taken === chunk.samples.length) this.chunks.shift();
    }
    return written;
  }

  isReady() {
    if (this.chunks.length === 0) return false;
    const last = this.chunks[this.chunks.length - 1];
    return this.bufferedMs >= this.targetMs || this.ended.has(last.item);
  }

  begin(item, events) {
    if (this.item !== null) {
      events.push(this.event("finished"));
      this.ended.delete(this.item);
    }
    this.item = item;
    this.playedMs = 0;
    events.push(this.event("started"));
  }

  rampIn(output, written) {
    for (let i = 0; i < written && this.fadeIn > 0; i++, this.fadeIn--) {
      output[i] *= 1 - this.fadeIn / this.fadeSamples;
    }
  }

  rampVolume(output, written) {
    const wanted = this.isDucked ? DUCKED : 1;
    const step = ((1 - DUCKED) * 1000) / (DUCK_MS * this.rateHz);
    for (let i = 0; i < written; i++) {
      const missing = wanted - this.gain;
      this.gain += Math.sign(missing) * Math.min(step, Math.abs(missing));
      output[i] *= this.gain;
    }
  }

  runDry(output, written, events) {
    if (this.ended.has(this.item)) {
      events.push(this.stop("finished"));
      return;
    }
    // The samples already written cannot be stretched; a ramp at least keeps the gap from clicking.
    const ramp = Math.min(written, this.fadeSamples);
    for (let i = 0; i < ramp; i++) output[written - 1 - i] *= i / ramp;
    this.state = "filling";
    this.fadeIn = this.fadeSamples;
    this.isDry = !this.isDucked;
    events.push(this.event("dry"));
  }

  adapt() {
    this.underruns += 1;
    this.calmSamples = 0;
    this.targetMs = Math.min(MOST_MS, this.targetMs + STEP_MS);
  }

  relax(written) {
    this.calmSamples += written;
    if ((this.calmSamples * 1000) / this.rateHz < CALM_MS) return;
    this.calmSamples = 0;
    this.targetMs = Math.max(START_MS, this.targetMs - STEP_MS);
  }

  stop(type) {
    const event = this.event(type);
    this.empty();
    return event;
  }

  event(type) {
    return { type, item: this.item, playedMs: Math.floor(this.playedMs) };
  }
}
