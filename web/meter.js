// How loud it has been in the last second, as bars; the newest stand next to the button.

const BARS = 22;
const FLOOR_DB = -50;
const SPREAD = 2; // between quiet and loud syllables, which are close together in dB
const STEP_MS = 50;

export class Meter {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {boolean} newestFirst whether time runs away to the right
   */
  constructor(canvas, newestFirst) {
    this.canvas = canvas;
    this.newestFirst = newestFirst;
    this.levels = new Array(BARS).fill(0);
    this.loudest = 0;
    this.lastStep = 0;
    this.isDrawing = false;
    this.draw();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** @param {number} rms 0..1 */
  push(rms) {
    const db = 20 * Math.log10(Math.max(rms, 1e-6));
    const height = Math.max(0, 1 - db / FLOOR_DB) * 1.2;
    this.loudest = Math.max(this.loudest, Math.min(1, height ** SPREAD));
    const now = performance.now();
    if (now - this.lastStep < STEP_MS && rms > 0) return;
    this.lastStep = now;
    this.levels.pop();
    this.levels.unshift(this.loudest);
    this.canvas.setAttribute("aria-valuenow", String(Math.round(this.loudest * 100)));
    this.loudest = 0;
    this.request();
  }

  clear() {
    this.levels.fill(0);
    this.canvas.setAttribute("aria-valuenow", "0");
    this.request();
  }

  request() {
    if (this.isDrawing) return;
    this.isDrawing = true;
    requestAnimationFrame(() => {
      this.isDrawing = false;
      this.draw();
    });
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth * scale;
    const height = canvas.clientHeight * scale;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const paint = canvas.getContext("2d");
    paint.clearRect(0, 0, width, height);
    paint.fillStyle = getComputedStyle(canvas).color;
    const pitch = width / BARS;
    const bar = Math.max(1, Math.min(3 * scale, pitch * 0.5));
    for (let i = 0; i < BARS; i++) {
      const length = Math.max(bar, this.levels[i] * height);
      const x = this.newestFirst ? i * pitch : width - (i + 1) * pitch + (pitch - bar);
      paint.globalAlpha = 1 - (0.8 * i) / BARS;
      paint.beginPath();
      paint.roundRect(x, (height - length) / 2, bar, length, bar / 2);
      paint.fill();
    }
  }
}
