// Who said what, as far as it is known and heard: the wire's events folded into entries. Pure.
//
//   caller  listening ─▶ partial ─▶ final          (dropped when nothing was said)
//   agent   speaking ─▶ said | cut | failed        (written: shown, not spoken)

import { Words, heardUnits, unitsAt } from "./alignment.js";

export class Transcript {
  /** @param {(entry: object | null) => void} changed called with the entry, null: one is gone */
  constructor(changed = () => {}) {
    this.changed = changed;
    this.entries = [];
    this.sourcesOf = new Map(); // response id -> sources that came before its entry
    this.words = new Map(); // entry id -> Words, kept out of the entries, which are plain values
  }

  find(id) {
    return this.entries.find((entry) => entry.id === id);
  }

  /** One event of the wire; those that say nothing about words are ignored. */
  receive(event) {
    handlers[event.type]?.call(this, event);
  }

  /** What the caller typed; the server confirms it under the same id. */
  typed(id, text) {
    this.caller(id, { state: "final", text, stable: text.length });
  }

  /** A line across: what came before belongs to a session that is gone, lost or ended by hand. */
  divide(id, wasLost = false) {
    if (this.entries.length === 0 || this.entries.at(-1).role === "divider") return;
    this.settle();
    this.add({ id, role: "divider", wasLost });
  }

  /** Nothing more is heard of what was being said: its session is gone. */
  settle() {
    for (const entry of this.entries) {
      if (entry.state === "speaking") this.cut(entry.id, entry.playedMs);
    }
    this.entries = this.entries.filter((entry) => !isUnfinished(entry));
    this.changed(null);
  }

  /** @returns {{role: "user" | "assistant", text: string}[]} of this conversation, as far as heard */
  said() {
    const start = this.entries.findLastIndex((entry) => entry.role === "divider") + 1;
    return this.entries
      .slice(start)
      .map(({ role, state, text, heard }) =>
        role === "caller"
          ? { role: "user", text: state === "final" ? text : "" }
          : { role: "assistant", text: text.slice(0, heard).trimEnd() },
      )
      .filter(({ text }) => text !== "");
  }

  played(id, playedMs) {
    const entry = this.find(id);
    if (entry?.state === "speaking") this.hear(entry, playedMs);
  }

  finished(id) {
    const entry = this.find(id);
    if (entry?.state === "speaking") this.update(entry, { state: "said", heard: entry.text.length });
  }

  /** Playing stopped before the end. */
  cut(id, playedMs) {
    const entry = this.find(id);
    if (entry?.state !== "speaking") return;
    this.hear(entry, playedMs);
    this.update(entry, { state: "cut" });
  }

  hear(entry, playedMs) {
    const heard = heardUnits({ ...entry, playedMs }, this.words.get(entry.id));
    if (heard === entry.heard) entry.playedMs = playedMs;
    else this.update(entry, { playedMs, heard });
  }

  caller(id, change) {
    const entry = this.find(id);
    if (entry) this.update(entry, change);
    else this.add({ id, role: "caller", state: "listening", text: "", stable: 0, ...change });
  }

  add(entry) {
    this.entries.push(entry);
    this.changed(entry);
  }

  update(entry, change) {
    Object.assign(entry, change);
    this.changed(entry);
  }

  remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    this.words.delete(entry.id);
    this.changed(null);
  }

  /** The server's word on what was heard of a cut answer; it stands in its history. */
  truncated(id, playedMs) {
    const entry = this.find(id);
    if (entry?.state === "cut") this.hear(entry, playedMs);
    else this.cut(id, playedMs);
  }

  append(event, isSpoken) {
    const entry = this.find(event.item_id);
    if (!entry) return;
    const text = entry.text + event.delta;
    // What is only written is read, not heard.
    this.update(entry, isSpoken ? { text } : { text, isSpoken, heard: text.length });
  }
}

const handlers = {
  "input_audio_buffer.speech_started"({ item_id }) {
    this.caller(item_id, {});
  },

  "kaiwa.transcript.partial"({ item_id, text, stable_chars }) {
    if (this.find(item_id)?.state === "final") return;
    this.caller(item_id, { state: "partial", text, stable: unitsAt(text, stable_chars) });
  },

  "conversation.item.input_audio_transcription.completed"({ item_id, transcript }) {
    const text = transcript.trim();
    if (text) this.caller(item_id, { state: "final", text, stable: text.length });
    else if (this.find(item_id)) this.remove(this.find(item_id));
  },

  "conversation.item.input_audio_transcription.failed"({ item_id, error }) {
    this.caller(item_id, { state: "failed", error: error?.message ?? "" });
  },

  "response.output_item.added"({ response_id, item }) {
    if (item.type !== "message" || this.find(item.id)) return;
    this.words.set(item.id, new Words());
    this.add({
      id: item.id,
      role: "agent",
      state: "speaking",
      isSpoken: true,
      response: response_id,
      text: "",
      heard: 0,
      marks: [],
      playedMs: 0,
      sources: this.sourcesOf.get(response_id) ?? [],
    });
  },

  "kaiwa.turn.sources"({ response_id, sources }) {
    this.sourcesOf.set(response_id, sources);
    const entry = this.entries.find((other) => other.response === response_id);
    if (entry) this.update(entry, { sources });
  },

  "kaiwa.speech.marks"({ item_id, marks }) {
    const entry = this.find(item_id);
    if (entry) this.update(entry, { marks: [...entry.marks, ...marks] });
  },

  "conversation.item.truncated"({ item_id, audio_end_ms }) {
    this.truncated(item_id, audio_end_ms);
  },

  "response.output_audio_transcript.delta"(event) {
    this.append(event, true);
  },

  "response.output_text.delta"(event) {
    this.append(event, false);
  },

  "response.done"({ response }) {
    this.sourcesOf.delete(response.id);
    const error = response.status === "failed" ? response.status_details?.error?.message : undefined;
    for (const entry of this.entries.filter((other) => other.response === response.id)) {
      if (response.status === "failed") this.update(entry, { state: "failed", error: error ?? "" });
      else if (!entry.isSpoken) this.update(entry, { state: "said" });
      else if (entry.text === "") this.remove(entry);
    }
  },

  "kaiwa.turn.timeline"({ item_id, outcome }) {
    const entry = this.find(item_id);
    if (entry && outcome === "no_speech" && isUnfinished(entry)) this.remove(entry);
  },
};

function isUnfinished(entry) {
  return entry.role === "caller" && (entry.state === "listening" || entry.state === "partial");
}
