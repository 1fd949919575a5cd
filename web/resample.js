// Band-limited resampling of one mono stream, block by block, at an exact rational ratio.
//
//   from 44100  to 24000   =   up 80, down 147
//
// A polyphase FIR: a Kaiser-windowed sinc at `up` times the input rate, of which each output sample
// uses one phase. Positions are counted in integers, so that an hour of audio does not drift.
// Source: Smith, Digital Audio Resampling, https://ccrma.stanford.edu/~jos/resample/

const STOPBAND_DB = 72;
// Of the narrower band, what the filter's slope may take; 0.12 keeps speech flat up to 10.5 kHz.
const TRANSITION = 0.12;

export class Resampler {
  /** @param {number} fromHz whole samples a second, as is `toHz`. */
  constructor(fromHz, toHz) {
    for (const rate of [fromHz, toHz]) {
      if (!Number.isInteger(rate) || rate <= 0) {
        throw new RangeError(`sample rate must be a whole number of Hz, got ${rate}`);
      }
    }
    const divisor = greatestCommonDivisor(fromHz, toHz);
    this.up = toHz / divisor;
    this.down = fromHz / divisor;
    this.taps = tapsPerPhase(fromHz, toHz);
    this.phases = designPhases(this.up, this.taps, Math.min(1, toHz / fromHz));
    this.block = new Float32Array(this.taps - 1);
    this.reset();
  }

  /** Seconds by which the filter delays the signal. */
  delay(fromHz) {
    return (this.taps - 1) / 2 / fromHz;
  }

  /** Forget what came before, as at the start of another sound. */
  reset() {
    this.phase = 0;
    this.position = 0;
    this.block.fill(0);
  }

  /** Most samples that `process` can write for `count` more. */
  capacity(count) {
    return Math.ceil((count * this.up) / this.down) + 1;
  }

  /**
   * After n samples in all, ceil(n * up / down) have been written in all, whatever the block sizes.
   *
   * @param {Float32Array} input any number of samples; not modified
   * @param {Float32Array} output at least `capacity(input.length)` long
   * @returns {number} how many samples were written to `output`
   */
  process(input, output) {
    const { taps, phases, up, down } = this;
    const history = taps - 1;
    const needed = history + input.length;
    if (this.block.length < needed) {
      const grown = new Float32Array(needed);
      grown.set(this.block.subarray(0, history));
      this.block = grown;
    }
    const block = this.block;
    block.set(input, history);

    let { phase, position } = this;
    let written = 0;
    while (position < input.length) {
      let sum = 0;
      const first = phase * taps;
      for (let tap = 0; tap < taps; tap++) sum += phases[first + tap] * block[position + tap];
      output[written++] = sum;
      phase += down;
      position += Math.floor(phase / up);
      phase %= up;
    }
    this.phase = phase;
    this.position = position - input.length;
    block.copyWithin(0, input.length, needed);
    return written;
  }
}

/** -1..1 to signed 16 bit; louder is clipped, not wrapped. */
export function toInt16(samples) {
  const pcm = new Int16Array(samples.length);
  for (let i = 0; i < samples.length; i++) {
    pcm[i] = Math.round(Math.max(-1, Math.min(1, samples[i])) * 32767);
  }
  return pcm;
}

export function toFloat32(pcm) {
  const samples = new Float32Array(pcm.length);
  for (let i = 0; i < pcm.length; i++) samples[i] = pcm[i] / 32768;
  return samples;
}

function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Kaiser's estimate, in input samples, made even so that the delay is the same on both sides. */
function tapsPerPhase(fromHz, toHz) {
  const slope = (TRANSITION * Math.min(fromHz, toHz)) / 2 / fromHz;
  return 2 * Math.ceil((STOPBAND_DB - 7.95) / (14.36 * slope) / 2);
}

/** [up * taps] each phase's taps in the order of the samples they meet, oldest first. */
function designPhases(up, taps, band) {
  const length = up * taps;
  const middle = (length - 1) / 2;
  // The slope ends where folding begins: at half of the lower rate.
  const cutoff = (band * (1 - TRANSITION / 2)) / 2 / up;
  const beta = 0.1102 * (STOPBAND_DB - 8.7);
  const phases = new Float32Array(length);
  for (let phase = 0; phase < up; phase++) {
    for (let tap = 0; tap < taps; tap++) {
      const index = phase + (taps - 1 - tap) * up;
      const from = index - middle;
      const sinc = from === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * from) / (Math.PI * from);
      const window = bessel(beta * Math.sqrt(1 - (from / middle) ** 2)) / bessel(beta);
      phases[phase * taps + tap] = up * sinc * window;
    }
  }
  return phases;
}

/** Modified Bessel function of the first kind, order zero. */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-12; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}
