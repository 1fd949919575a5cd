// One call: the connection, the microphone and the speaker, and how they answer to each other.
//
//   idle ──start()──▶ starting ──▶ live ──stop()──▶ idle
//
//                     over a WebSocket              over WebRTC
//   caller's sound    frames from a worklet         the microphone's own track
//   answer's sound    frames to a worklet           a track, played by an element
//   what was heard    samples played                the server's events and a clock
//   cut               we clear, and truncate        the server does both
//
// Typed questions need no call: their answer is spoken if a speaker is open, else only shown.

import { Connection } from "./connection.js";
import { Microphone, MicrophoneError, PROCESSING } from "./microphone.js";
import { capture, playback, reactions } from "./reactions.js";
import { Sound } from "./sound.js";
import { wishes } from "./wishes.js";

/** Code points that the server takes in one message. */
export const MOST_QUESTION_CHARS = 20_000;

/**
 * Events: "change" (phase, mute, who speaks), "turn" {…}, "problem" {code, detail}, "fine" {code},
 * "level" {who, rms}, "microphone" (another one, or another processing).
 */
export class Call extends EventTarget {
  /** @param {import("./transcript.js").Transcript} transcript told whatever is said and heard */
  constructor(transcript) {
    super();
    this.transcript = transcript;
    this.phase = "idle";
    this.isMuted = false;
    this.language = "en";
    this.turns = [];
    this.sound = null;
    this.outputId = "";
    this.processing = Object.fromEntries(PROCESSING.map((name) => [name, true]));
    this.playedMs = 0;
    this.questions = []; // typed before the session was there
    this.wasRefused = false; // while it wanted to talk
    this.connection = new Connection();
    this.connection.addEventListener("event", ({ detail }) => this.receive(detail));
    this.connection.addEventListener("audio", ({ detail }) => this.hear(detail));
    this.connection.addEventListener("state", ({ detail }) => this.follow(detail));
    this.connection.addEventListener("quality", ({ detail }) => this.measure(detail));
    this.forgetSession();
  }

  forgetSession() {
    this.session = null;
    this.responses = new Map(); // id -> {turn, item, hasAudio}
    this.active = null; // id of the response being made
    this.newestTurn = 0;
    this.silencedTurn = -1;
    this.speaker?.duck(false); // who held the answer back is gone
  }

  get microphone() {
    return this.sound?.microphone ?? null;
  }

  get speaker() {
    return this.sound?.speaker ?? null;
  }

  get isAnswering() {
    return this.active !== null || Boolean(this.speaker?.isPlaying);
  }

  /** The server owns the playout, and the speaker here only sounds it. */
  get playsThere() {
    return this.connection.kind === "webrtc" && this.speaker !== null;
  }

  /** Called from a key or a click: browsers let nothing else start sound. */
  async start(deviceId = "") {
    if (this.phase !== "idle") return;
    this.wasRefused = false;
    if (!window.isSecureContext) {
      this.tell("problem", { code: "insecure-context" });
      return;
    }
    this.sound ??= new Sound();
    const { sound } = this;
    sound.outputId = this.outputId;
    // Somebody may stop, and start again, while the permission is being asked for.
    const isCurrent = () => sound === this.sound;
    this.change("starting");
    try {
      await sound.open();
      if (isCurrent()) this.equip();
      if (isCurrent()) await sound.hear(this.createMicrophone(), deviceId);
    } catch (error) {
      if (!isCurrent()) return;
      // Without a microphone the speaker stays: typed questions are then answered aloud.
      const code = error instanceof MicrophoneError ? error.code : "audio-failed";
      this.tell("problem", { code, detail: error.message });
      this.change("idle");
      return;
    }
    if (!isCurrent()) return;
    this.connection.carry(this.microphone.track);
    this.tell("microphone", {});
    this.change("live");
    this.connection.open();
  }

  stop() {
    this.connection.close();
    this.questions = [];
    this.wasRefused = false;
    for (const entry of this.transcript.entries) this.transcript.cut(entry.id, entry.playedMs);
    this.forgetSession();
    this.closeSound();
  }

  closeSound() {
    this.connection.carry(null);
    this.sound?.close();
    this.sound = null;
    this.isMuted = false;
    for (const who of ["caller", "agent"]) this.tell("level", { who, rms: 0 });
    this.tell("microphone", {});
    this.change("idle");
  }

  /** The server said no: nobody is listened to until there is another key, or another link. */
  beRefused() {
    if (this.phase === "idle") return;
    this.closeSound();
    this.wasRefused = true;
  }

  /** From where it was refused, called from a key or a click as `start` is. */
  retry(deviceId = "") {
    return this.wasRefused ? this.start(deviceId) : this.connection.open();
  }

  toggleMute() {
    this.isMuted = !this.isMuted;
    if (this.microphone) this.microphone.muted = this.isMuted;
    this.change();
  }

  /** Another microphone in the middle of the call. */
  async choose(deviceId) {
    await this.alter((microphone) => microphone.open(deviceId));
  }

  /** Another processing of its sound, of the names of PROCESSING. */
  async process(processing) {
    this.processing = processing;
    await this.alter((microphone) => microphone.process(processing));
  }

  async alter(change) {
    const { microphone } = this;
    if (!microphone) return;
    try {
      await change(microphone);
    } catch (error) {
      this.tell("problem", { code: error.code ?? "mic-failed", detail: error.message });
    }
    if (microphone === this.microphone) this.connection.carry(microphone.track);
    this.tell("microphone", {});
  }

  /** Where answers sound; empty: the system's own choice. */
  async setOutput(deviceId) {
    this.outputId = deviceId;
    await this.sound?.setOutput(deviceId);
  }

  /** A typed question. */
  ask(text) {
    if (this.connection.state !== "open" || !this.session) {
      this.questions.push(text);
      this.connection.open();
      return;
    }
    this.silence();
    const id = `item_${crypto.getRandomValues(new Uint32Array(3)).join("")}`;
    this.transcript.typed(id, text);
    this.tellServer("user", { type: "input_text", text }, id);
    const response = { output_modalities: [this.speaker ? "audio" : "text"] };
    this.connection.send({ type: "response.create", response });
  }

  /** What was said before the link changed, so that the new session knows it. */
  recall() {
    for (const { role, text } of this.transcript.said()) {
      const type = role === "user" ? "input_text" : "output_text";
      this.tellServer(role, { type, text });
    }
  }

  tellServer(role, content, id = undefined) {
    const item = { id, type: "message", role, content: [content] };
    this.connection.send({ type: "conversation.item.create", item });
  }

  /** Stop the answer, keep the call. */
  silence() {
    if (this.active !== null) {
      this.connection.send({ type: "response.cancel", response_id: this.active });
    }
    if (this.playsThere && this.speaker.isPlaying) {
      this.connection.send({ type: "output_audio_buffer.clear" });
    }
    this.cutIn();
  }

  setLanguage(language) {
    this.language = language;
    if (this.connection.state === "open") this.configure();
  }

  createMicrophone() {
    const microphone = new Microphone(this.sound.context);
    microphone.processing = this.processing;
    this.microphoneProblem = "";
    for (const [type, react] of Object.entries(capture)) {
      microphone.addEventListener(type, ({ detail }) => react.call(this, detail));
    }
    return microphone;
  }

  /** The speaker that the link in use needs. */
  equip() {
    if (!this.sound?.isReady) return;
    const speaker = this.sound.speakFrom(this.connection.stream);
    if (speaker) this.listenTo(speaker);
  }

  listenTo(speaker) {
    for (const [type, react] of Object.entries(playback)) {
      speaker.addEventListener(type, ({ detail }) => {
        if (speaker === this.speaker) react.call(this, detail);
      });
    }
  }

  report(item_id, played_ms) {
    this.connection.send({ type: "kaiwa.playback.report", item_id, played_ms });
  }

  truncate(item_id, audio_end_ms) {
    this.report(item_id, audio_end_ms);
    const event = { type: "conversation.item.truncate", item_id, content_index: 0, audio_end_ms };
    this.connection.send(event);
  }

  /** The caller speaks over the answer: silence at once, and nothing more of that turn. */
  cutIn() {
    this.silencedTurn = this.newestTurn;
    if (this.speaker?.isPlaying) this.speaker.clear();
  }

  follow({ state, reason }) {
    if (state === "open") {
      this.equip();
    } else if (state !== "closed") {
      if (this.speaker?.isPlaying) this.speaker.clear();
      this.forgetSession();
    }
    if (reason === "call-ended") this.stop();
    else if (state === "blocked") this.beRefused();
    this.change();
  }

  measure({ bufferMs }) {
    if (this.playsThere) this.speaker.delayMs = bufferMs ?? 0;
  }

  configure() {
    this.connection.send({ type: "session.update", session: wishes(this.language) });
  }

  receive(event) {
    this.transcript.receive(event);
    reactions[event.type]?.call(this, event);
  }

  hear({ turn, startMs, pcm }) {
    if (turn < this.newestTurn || turn === this.silencedTurn || !this.speaker) return;
    const response = [...this.responses.values()].findLast((other) => other.turn === turn);
    if (!response?.item) return;
    response.hasAudio = true;
    this.speaker.play(response.item, startMs, pcm);
  }

  change(phase = this.phase) {
    this.phase = phase;
    this.tell("change", {});
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
