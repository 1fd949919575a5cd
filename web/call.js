// One call: the socket, the microphone and the speaker, and how they answer to each other.
//
//   idle ──start()──▶ starting ──▶ live ──stop()──▶ idle
//
// Typed questions need no call: their answer is spoken if a speaker is open, else only shown.

import { Microphone, MicrophoneError } from "./microphone.js";
import { Socket } from "./socket.js";
import { Speaker } from "./speaker.js";

const INCLUDE = [
  "kaiwa.transcript.partial",
  "kaiwa.turn.sources",
  "kaiwa.speech.marks",
  "kaiwa.speech.ducked",
  "kaiwa.turn.timeline",
];

// Races between caller and server that need nobody's attention (docs/wire.md).
const HARMLESS = new Set([
  "response_cancel_not_active",
  "conversation_already_has_active_response",
  "input_audio_buffer_commit_empty",
  "item_create_duplicate_item_id",
  "item_retrieve_invalid_item_id",
]);

const MOST_TURNS = 500;

/** Code points that the server takes in one message. */
export const MOST_QUESTION_CHARS = 20_000;

/** Events: "change" (phase, mute, who speaks), "turn" {…}, "problem" {code, detail}, "fine" {code}, "level" {who, rms}. */
export class Call extends EventTarget {
  /** @param {import("./transcript.js").Transcript} transcript told whatever is said and heard */
  constructor(transcript) {
    super();
    this.transcript = transcript;
    this.phase = "idle";
    this.isMuted = false;
    this.language = "en";
    this.turns = [];
    this.session = null;
    this.context = null;
    this.microphone = null;
    this.speaker = null;
    this.playedMs = 0;
    this.questions = []; // typed before the session was there
    this.socket = new Socket();
    this.socket.addEventListener("event", ({ detail }) => this.receive(detail));
    this.socket.addEventListener("audio", ({ detail }) => this.hear(detail));
    this.socket.addEventListener("state", ({ detail }) => this.follow(detail));
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

  get isAnswering() {
    return this.active !== null || Boolean(this.speaker?.isPlaying);
  }

  /** Called from a key or a click: browsers let nothing else start sound. */
  async start(deviceId = "") {
    if (this.phase !== "idle") return;
    if (!window.isSecureContext) {
      this.tell("problem", { code: "insecure-context" });
      return;
    }
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    const { context } = this;
    // Somebody may stop, and start again, while the permission is being asked for.
    const isCurrent = () => context === this.context;
    this.change("starting");
    try {
      await this.openSpeaker(context);
      if (isCurrent()) await this.openMicrophone(context, deviceId);
    } catch (error) {
      if (!isCurrent()) return;
      // Without a microphone the speaker stays: typed questions are then answered aloud.
      const code = error instanceof MicrophoneError ? error.code : "audio-failed";
      this.tell("problem", { code, detail: error.message });
      this.change("idle");
      return;
    }
    if (!isCurrent()) return;
    this.change("live");
    this.socket.open();
  }

  stop() {
    this.socket.close();
    this.speaker?.clear();
    this.microphone?.close();
    this.microphone = null;
    this.closeSpeaker();
    this.isMuted = false;
    this.questions = [];
    for (const entry of this.transcript.entries) this.transcript.cut(entry.id, entry.playedMs);
    this.forgetSession();
    this.tell("level", { who: "caller", rms: 0 });
    this.tell("level", { who: "agent", rms: 0 });
    this.change("idle");
  }

  toggleMute() {
    this.isMuted = !this.isMuted;
    if (this.microphone) this.microphone.muted = this.isMuted;
    this.change();
  }

  /** Another microphone in the middle of the call. */
  async choose(deviceId) {
    if (!this.microphone) return;
    try {
      await this.microphone.open(deviceId);
    } catch (error) {
      this.tell("problem", { code: error.code ?? "mic-failed", detail: error.message });
    }
  }

  /** A typed question. */
  ask(text) {
    if (this.socket.state !== "open" || !this.session) {
      this.questions.push(text);
      this.socket.open();
      return;
    }
    this.silence();
    const id = `item_${crypto.getRandomValues(new Uint32Array(3)).join("")}`;
    this.transcript.typed(id, text);
    const content = [{ type: "input_text", text }];
    this.socket.send({
      type: "conversation.item.create",
      item: { id, type: "message", role: "user", content },
    });
    const response = { output_modalities: [this.speaker ? "audio" : "text"] };
    this.socket.send({ type: "response.create", response });
  }

  /** Stop the answer, keep the call. */
  silence() {
    if (this.active !== null) this.socket.send({ type: "response.cancel", response_id: this.active });
    this.cutIn();
  }

  setLanguage(language) {
    this.language = language;
    if (this.socket.state === "open") this.configure();
  }

  async openSpeaker(context) {
    await context.resume();
    if (this.speaker) return;
    for (const name of ["mic-worklet.js", "speaker-worklet.js"]) {
      await context.audioWorklet.addModule(new URL(name, import.meta.url));
    }
    if (context !== this.context) return;
    this.speaker = new Speaker(context);
    this.listenTo(this.speaker);
    // A telephone call or the lock screen suspends sound; it comes back with the page.
    context.onstatechange = () => {
      if (context.state !== "running" && context.state !== "closed") context.resume();
    };
  }

  closeSpeaker() {
    this.speaker?.close();
    this.speaker = null;
    this.context?.close();
    this.context = null;
  }

  async openMicrophone(context, deviceId) {
    const microphone = new Microphone(context);
    microphone.addEventListener("frame", ({ detail }) => {
      this.socket.sendAudio(detail.pcm);
      this.tell("level", { who: "caller", rms: detail.rms });
    });
    let problem = "";
    microphone.addEventListener("problem", ({ detail }) => {
      this.tell("fine", { code: problem });
      problem = detail.code;
      this.tell("problem", detail);
      if (problem === "mic-lost") this.choose("");
    });
    microphone.addEventListener("fine", () => this.tell("fine", { code: problem }));
    try {
      await microphone.open(deviceId);
    } finally {
      if (context === this.context && microphone.isOpen) this.microphone = microphone;
      else microphone.close();
    }
  }

  listenTo(speaker) {
    const on = (type, react) =>
      speaker.addEventListener(type, ({ detail }) => {
        if (speaker === this.speaker) react(detail);
      });
    on("level", ({ rms }) => this.tell("level", { who: "agent", rms }));
    on("started", () => this.change());
    on("position", ({ item, playedMs }) => {
      this.playedMs = playedMs;
      this.transcript.played(item, playedMs);
    });
    on("report", ({ item, playedMs }) => this.report(item, playedMs));
    on("finished", ({ item, playedMs }) => {
      this.playedMs = playedMs;
      this.report(item, playedMs);
      this.transcript.finished(item);
      this.change();
    });
    on("cleared", ({ item, playedMs }) => {
      this.playedMs = playedMs;
      this.report(item, playedMs);
      this.socket.send({
        type: "conversation.item.truncate",
        item_id: item,
        content_index: 0,
        audio_end_ms: playedMs,
      });
      this.transcript.cut(item, playedMs);
      this.change();
    });
  }

  report(item_id, played_ms) {
    this.socket.send({ type: "kaiwa.playback.report", item_id, played_ms });
  }

  /** The caller speaks over the answer: silence at once, and nothing more of that turn. */
  cutIn() {
    this.silencedTurn = this.newestTurn;
    if (this.speaker?.isPlaying) this.speaker.clear();
  }

  follow({ state, reason }) {
    if (state === "waiting" || state === "blocked") {
      if (this.speaker?.isPlaying) this.speaker.clear();
      this.forgetSession();
    }
    if (reason === "call-ended") this.stop();
    this.tell("connection", { state, reason });
    this.change();
  }

  configure() {
    this.socket.send({
      type: "session.update",
      session: {
        type: "realtime",
        output_modalities: ["audio"],
        include: INCLUDE,
        audio: {
          input: {
            format: { type: "audio/pcm", rate: 24_000 },
            transcription: { language: this.language },
          },
          output: { format: { type: "audio/pcm", rate: 24_000 } },
        },
      },
    });
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

const reactions = {
  "session.created"({ session }) {
    this.forgetSession();
    this.transcript.divide(session.id);
    this.configure();
  },

  "session.updated"({ session }) {
    this.session = session;
    for (const text of this.questions.splice(0)) this.ask(text);
  },

  "input_audio_buffer.speech_started"() {
    const detection = this.session?.audio?.input?.turn_detection;
    if (detection?.interrupt_response !== false) this.cutIn();
  },

  "response.created"({ response, kaiwa }) {
    const turn = (kaiwa ?? response.kaiwa)?.turn ?? this.newestTurn + 1;
    this.newestTurn = Math.max(this.newestTurn, turn);
    this.responses.set(response.id, { turn, item: null, hasAudio: false });
    this.active = response.id;
    this.change();
  },

  "response.output_item.added"({ response_id, item }) {
    const response = this.responses.get(response_id);
    if (response && item.type === "message") response.item = item.id;
  },

  "response.output_audio.done"({ response_id, item_id }) {
    const response = this.responses.get(response_id);
    if (response?.hasAudio && this.speaker) this.speaker.end(item_id);
    else this.transcript.finished(item_id);
  },

  "response.done"({ response }) {
    const { item, hasAudio, turn } = this.responses.get(response.id) ?? {};
    this.responses.delete(response.id);
    if (this.active === response.id) this.active = null;
    if (response.status === "cancelled") {
      this.silencedTurn = turn;
      if (hasAudio && this.speaker?.item === item) this.speaker.clear();
      else if (item) this.transcript.cut(item, this.transcript.find(item)?.playedMs ?? 0);
    } else if (item && hasAudio) {
      this.speaker?.end(item); // a failed answer ends with what was made of it
    }
    this.change();
  },

  "kaiwa.speech.ducked"({ ducked }) {
    this.speaker?.duck(ducked);
  },

  "kaiwa.turn.timeline"(event) {
    this.turns.push(event);
    if (this.turns.length > MOST_TURNS) this.turns.shift();
    this.tell("turn", event);
  },

  error({ error }) {
    if (!HARMLESS.has(error.code)) this.tell("problem", { code: "server-error", detail: error.message });
  },
};
