import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Call, MOST_QUESTION_CHARS } from "../../web/call.js";
import { Transcript } from "../../web/transcript.js";

/** A speaker that plays nothing and tells what it was asked to. */
class RecordingSpeaker extends EventTarget {
  asked = [];
  item = null;

  get isPlaying() {
    return this.item !== null;
  }

  play(item, startMs, pcm) {
    this.item = item;
    this.asked.push(["play", item, startMs, pcm.length]);
  }

  end(item) {
    this.asked.push(["end", item]);
  }

  clear() {
    this.asked.push(["clear"]);
  }

  duck(isDucked) {
    this.isDucked = isDucked;
  }

  tell(type, detail) {
    if (type === "cleared" || type === "finished") this.item = null;
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A call in an open session, whose socket keeps what would be sent. */
function openCall({ hasSpeaker = true, detection = { interrupt_response: true } } = {}) {
  const call = new Call(new Transcript());
  const sent = [];
  call.socket.send = (event) => sent.push(event);
  call.socket.state = "open";
  if (hasSpeaker) {
    call.speaker = new RecordingSpeaker();
    call.listenTo(call.speaker);
  }
  call.receive({ type: "session.created", session: { id: "s" } });
  const session = { id: "s", audio: { input: { turn_detection: detection } } };
  call.receive({ type: "session.updated", session });
  return { call, speaker: call.speaker, sent };
}

function answer(call, turn) {
  const response_id = `r${turn}`;
  const item = { id: `a${turn}`, type: "message" };
  call.receive({ type: "response.created", response: { id: response_id }, kaiwa: { turn } });
  call.receive({ type: "response.output_item.added", response_id, item });
}

function frame(call, turn, startMs = 0) {
  call.socket.receive(binary(turn, startMs, [1, 2, 3]));
}

function binary(turn, startMs, samples) {
  const view = new DataView(new ArrayBuffer(8 + samples.length * 2));
  view.setUint32(0, turn, true);
  view.setUint32(4, startMs, true);
  samples.forEach((sample, n) => view.setInt16(8 + 2 * n, sample, true));
  return view.buffer;
}

const done = (turn, status) => ({ type: "response.done", response: { id: `r${turn}`, status } });
const types = (events) => events.map(({ type }) => type);

test("the session asks for everything the page shows, in the page's language", () => {
  const call = new Call(new Transcript());
  const sent = [];
  call.socket.send = (event) => sent.push(event);
  call.setLanguage("ja");
  call.receive({ type: "session.created", session: { id: "s" } });
  const [{ session }] = sent;
  assert.equal(session.include.length, 5);
  assert.deepEqual(session.audio.input.transcription, { language: "ja" });
});

test("a frame goes to the item of its turn, at its place", () => {
  const { call, speaker } = openCall();
  answer(call, 3);
  frame(call, 3, 240);
  assert.deepEqual(speaker.asked, [["play", "a3", 240, 3]]);
});

test("audio of an older turn is not played", () => {
  const { call, speaker } = openCall();
  answer(call, 1);
  answer(call, 2);
  frame(call, 1);
  assert.deepEqual(speaker.asked, []);
});

test("cutting in silences at once, drops the rest and tells what was heard", () => {
  const { call, speaker, sent } = openCall();
  answer(call, 1);
  frame(call, 1, 0);
  sent.length = 0;
  call.receive({ type: "input_audio_buffer.speech_started", item_id: "u" });
  frame(call, 1, 20);
  assert.deepEqual(speaker.asked.slice(1), [["clear"]]);
  speaker.tell("cleared", { item: "a1", playedMs: 17 });
  assert.deepEqual(sent, [
    { type: "kaiwa.playback.report", item_id: "a1", played_ms: 17 },
    { type: "conversation.item.truncate", item_id: "a1", content_index: 0, audio_end_ms: 17 },
  ]);
  answer(call, 2);
  frame(call, 2);
  assert.deepEqual(speaker.asked.at(-1), ["play", "a2", 0, 3]);
});

test("an answer that is held back is low, and as loud as before when it goes on", () => {
  const { call, speaker } = openCall();
  answer(call, 1);
  frame(call, 1);
  call.receive({ type: "kaiwa.speech.ducked", ducked: true });
  assert.equal(speaker.isDucked, true);
  assert.equal(speaker.isPlaying, true, "nothing is dropped");
  call.receive({ type: "kaiwa.speech.ducked", ducked: false });
  assert.equal(speaker.isDucked, false);
  frame(call, 1, 40);
  assert.deepEqual(speaker.asked.map(([what]) => what), ["play", "play"]);
});

test("a connection that breaks while the answer is low does not leave the next one low", () => {
  const { call, speaker } = openCall();
  answer(call, 1);
  frame(call, 1);
  call.receive({ type: "kaiwa.speech.ducked", ducked: true });
  call.follow({ state: "waiting" });
  assert.equal(speaker.isDucked, false);
});

test("a call that the server ends is over for the microphone too", () => {
  const { call } = openCall({ hasSpeaker: false });
  let isOpen = true;
  call.microphone = { close: () => (isOpen = false) };
  call.phase = "live";
  call.follow({ state: "closed", reason: "call-ended" });
  assert.equal(isOpen, false);
  assert.equal(call.phase, "idle");
});

test("speech does not silence a session that must not be interrupted", () => {
  const { call, speaker } = openCall({ detection: { interrupt_response: false } });
  answer(call, 1);
  frame(call, 1);
  call.receive({ type: "input_audio_buffer.speech_started", item_id: "u" });
  assert.equal(speaker.asked.length, 1);
});

test("an answer that the server cancels is silenced", () => {
  const { call, speaker } = openCall();
  answer(call, 1);
  frame(call, 1);
  call.receive(done(1, "cancelled"));
  assert.deepEqual(speaker.asked.at(-1), ["clear"]);
});

test("an answer cancelled before its first sound is cut where it stands", () => {
  const { call } = openCall();
  answer(call, 1);
  call.receive({ type: "response.output_audio_transcript.delta", item_id: "a1", delta: "We are" });
  call.receive(done(1, "cancelled"));
  assert.deepEqual([call.transcript.find("a1").state, call.transcript.find("a1").heard], ["cut", 0]);
});

test("a complete answer plays on after the response is done", () => {
  const { call, speaker } = openCall();
  answer(call, 1);
  frame(call, 1);
  call.receive({ type: "response.output_audio.done", response_id: "r1", item_id: "a1" });
  call.receive(done(1, "completed"));
  assert.ok(!speaker.asked.some(([what]) => what === "clear"));
  assert.equal(call.isAnswering, true);
  speaker.tell("finished", { item: "a1", playedMs: 900 });
  assert.equal(call.isAnswering, false);
});

test("a typed question stops the answer, then asks for a spoken one", () => {
  const { call, sent } = openCall();
  answer(call, 1);
  frame(call, 1);
  sent.length = 0;
  call.ask("when?");
  assert.deepEqual(types(sent), ["response.cancel", "conversation.item.create", "response.create"]);
  assert.deepEqual(sent[2].response.output_modalities, ["audio"]);
  assert.equal(call.transcript.entries.at(-1).text, "when?");
});

test("without sound the answer to a typed question is asked for as text", () => {
  const { call, sent } = openCall({ hasSpeaker: false });
  call.ask("when?");
  assert.deepEqual(sent.at(-1).response.output_modalities, ["text"]);
});

test("a question typed before the session is there waits for it", () => {
  const call = new Call(new Transcript());
  const sent = [];
  call.socket.send = (event) => sent.push(event);
  call.socket.open = () => {};
  call.ask("when?");
  assert.deepEqual(sent, []);
  call.socket.state = "open";
  call.receive({ type: "session.created", session: { id: "s" } });
  call.receive({ type: "session.updated", session: { id: "s" } });
  assert.deepEqual(types(sent), ["session.update", "conversation.item.create", "response.create"]);
});

test("races that harm nobody are not shown, other errors are", () => {
  const { call } = openCall();
  const shown = [];
  call.addEventListener("problem", ({ detail }) => shown.push(detail.detail));
  const error = (code) => ({ type: "error", error: { code, message: code } });
  call.receive(error("response_cancel_not_active"));
  call.receive(error("conversation_already_has_active_response"));
  call.receive(error("invalid_value"));
  assert.deepEqual(shown, ["invalid_value"]);
});

test("a frame without a whole header is ignored", () => {
  const { call, speaker } = openCall();
  answer(call, 1);
  call.socket.receive(new ArrayBuffer(5));
  assert.deepEqual(speaker.asked, []);
});

test("the longest question is as long as the server takes one", () => {
  const requests = readFileSync(new URL("../../voice/requests.py", import.meta.url), "utf8");
  const [, most] = requests.match(/^MAX_TEXT_CHARS = ([\d_]+)$/m);
  assert.equal(MOST_QUESTION_CHARS, Number(most.replaceAll("_", "")));
});
