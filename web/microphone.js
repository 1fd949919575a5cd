// The microphone: permission, device, level, and what can be wrong with it.

// Nothing at all, not even noise, for so long means a muted or broken device, not a quiet room. One
// that was heard may give nothing between two sentences: noise suppression takes all there is.
const SILENCE_S = 5;
const SILENCE_PEAK = 1e-5;
const DEAD_S = 60;
const FRAME_S = 0.02;

/** What the browser does with the sound before anybody gets it. */
export const PROCESSING = ["echoCancellation", "noiseSuppression", "autoGainControl"];

/** Why there is no microphone; `code` names the message shown for it. */
export class MicrophoneError extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

const CODES = {
  NotAllowedError: "mic-refused",
  SecurityError: "mic-refused",
  NotFoundError: "mic-missing",
  OverconstrainedError: "mic-missing",
  NotReadableError: "mic-in-use",
  AbortError: "mic-in-use",
};

/**
 * Events: "frame" {pcm, rms}, "problem" {code} and "fine" as a running microphone falls silent,
 * is muted by the system or unplugged, and comes back.
 */
export class Microphone extends EventTarget {
  /** @param {AudioContext} context */
  constructor(context) {
    super();
    this.context = context;
    this.stream = null;
    this.track = null;
    this.isMuted = false;
    this.problem = null;
    this.silentS = 0;
    this.device = null; // whose sound was heard, once `wasHeard`
    this.wasHeard = false;
    this.processing = Object.fromEntries(PROCESSING.map((name) => [name, true]));
  }

  /** @param {"audioinput" | "audiooutput"} kind */
  static async devices(kind = "audioinput") {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return all.filter((device) => device.kind === kind && device.deviceId !== "");
  }

  /** @param {string} deviceId empty: the system's own choice */
  async open(deviceId) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new MicrophoneError(window.isSecureContext ? "mic-unsupported" : "insecure-context");
    }
    const stream = await this.ask(deviceId);
    this.release();
    this.stream = stream;
    [this.track] = stream.getAudioTracks();
    this.track.enabled = !this.isMuted;
    this.heardFrom(this.deviceId);
    this.watch(this.track);
    this.source = this.context.createMediaStreamSource(stream);
    this.node ??= this.createNode();
    this.source.connect(this.node);
  }

  get isOpen() {
    return this.track?.readyState === "live";
  }

  get deviceId() {
    return this.track?.getSettings().deviceId ?? "";
  }

  /** What the browser really does, by the names of PROCESSING; null where it does not say. */
  get granted() {
    const settings = this.track?.getSettings() ?? {};
    return Object.fromEntries(PROCESSING.map((name) => [name, settings[name] ?? null]));
  }

  /**
   * Other processing, in the middle of the call. Some browsers change a running microphone; Chromium
   * says that it did, does nothing, and gives a second one the first one's processing while that runs.
   */
  async process(processing) {
    this.processing = processing;
    if (!this.track) return;
    try {
      await this.track.applyConstraints({ ...this.track.getConstraints(), ...processing });
    } catch {
      // The new microphone says what is wrong, if anything is.
    }
    const { granted } = this;
    const isSo = (name) => granted[name] === null || Boolean(granted[name]) === processing[name];
    if (PROCESSING.every(isSo)) return;
    const { deviceId } = this;
    this.release();
    await this.open(deviceId);
  }

  set muted(isMuted) {
    this.isMuted = isMuted;
    if (this.track) this.track.enabled = !isMuted;
  }

  close() {
    this.release();
    this.node?.port.postMessage("close");
    this.node?.disconnect();
    this.node = null;
  }

  release() {
    this.source?.disconnect();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.track = null;
    this.silentS = 0;
    this.report(null);
  }

  async ask(deviceId) {
    const audio = { channelCount: 1, ...this.processing };
    if (deviceId) audio.deviceId = { exact: deviceId };
    try {
      return await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      // The device chosen last time may be unplugged by now.
      if (deviceId && error.name !== "NotAllowedError") return this.ask("");
      throw new MicrophoneError(CODES[error.name] ?? "mic-failed", error.message);
    }
  }

  watch(track) {
    const ifCurrent = (problem) => () => {
      if (track === this.track) this.report(problem);
    };
    track.onmute = ifCurrent("mic-muted");
    track.onunmute = ifCurrent(null);
    track.onended = ifCurrent("mic-lost");
    if (track.muted) this.report("mic-muted");
  }

  createNode() {
    const node = new AudioWorkletNode(this.context, "kaiwa-microphone", { outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => this.receive(data);
    // It plays nothing, but browsers only run what leads to the speaker.
    node.connect(this.context.destination);
    return node;
  }

  heardFrom(device) {
    if (device !== this.device) this.wasHeard = false;
    this.device = device;
  }

  receive({ pcm, peak, rms }) {
    if (peak >= SILENCE_PEAK) this.wasHeard = true;
    const isSilent = (this.wasHeard ? peak === 0 : peak < SILENCE_PEAK) && !this.isMuted;
    this.silentS = isSilent ? this.silentS + FRAME_S : 0;
    const limitS = this.wasHeard ? DEAD_S : SILENCE_S;
    if (this.silentS >= limitS && !this.problem) this.report("mic-silent");
    else if (!isSilent && this.problem === "mic-silent") this.report(null);
    this.dispatchEvent(new CustomEvent("frame", { detail: { pcm, rms } }));
  }

  report(problem) {
    if (problem === this.problem) return;
    this.problem = problem;
    const type = problem ? "problem" : "fine";
    this.dispatchEvent(new CustomEvent(type, { detail: { code: problem } }));
  }
}
