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

  begin(item) {
    this.item = item;
    this.asked.push(["begin", item]);
  }

  stop() {
    this.asked.push(["stop"]);
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

/** A call in an open session, whose connection keeps what would be sent. */
function openCall({ hasSpeaker = true, kind = "websocket", detection = { interrupt_response: true } } = {}) {
  const call = new Call(new Transcript());
  const sent = [];
  call.connection.send = (event) => sent.push(event);
  call.connection.state = "open";
  call.connection.kind = kind;
  if (hasSpeaker) {
    call.sound = { speaker: new RecordingSpeaker(), close() {} };
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
  call.hear({ turn, startMs, pcm: Int16Array.of(1, 2, 3) });
}

const done = (turn, status) => ({ type: "response.done", response: { id: `r${turn}`, status } });
const types = (events) => events.map(({ type }) => type);

test("the session asks for everything the page shows, in the page's language", () => {
  const call = new Call(new Transcript());
  const sent = [];
  call.connection.send = (event) => sent.push(event);
  call.setLanguage("ja");
  call.receive({ type: "session.created", session: { id: "s" } });
  const [{ session }] = sent;
  assert.equal(session.include.length, 6);
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
  call.sound = { speaker: null, close: () => (isOpen = false) };
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
  call.connection.send = (event) => sent.push(event);
  call.connection.open = () => {};
  call.ask("when?");
  assert.deepEqual(sent, []);
  call.connection.state = "open";
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

test("over WebRTC what was heard runs from the server's word, and nothing is truncated from here", () => {
  const { call, speaker, sent } = openCall({ kind: "webrtc" });
  answer(call, 1);
  call.receive({ type: "output_audio_buffer.started", response_id: "r1" });
  assert.deepEqual(speaker.asked, [["begin", "a1"]]);
  call.receive({ type: "response.output_audio_transcript.delta", item_id: "a1", delta: "We are open daily" });
  call.receive({ type: "kaiwa.speech.marks", item_id: "a1", marks: [[6, 600], [17, 1700]] });
  speaker.tell("position", { item: "a1", playedMs: 800 });
  assert.equal(call.transcript.find("a1").heard, "We are open ".length);
  sent.length = 0;
  call.receive(done(1, "cancelled"));
  speaker.tell("cleared", { item: "a1", playedMs: 900 });
  call.receive({ type: "output_audio_buffer.cleared", response_id: "r1" });
  assert.deepEqual(sent, []);
  assert.equal(call.transcript.find("a1").state, "cut");
});

test("the server's word on what was heard of a cut answer stands", () => {
  const { call, speaker } = openCall({ kind: "webrtc" });
  answer(call, 1);
  call.receive({ type: "output_audio_buffer.started", response_id: "r1" });
  call.receive({ type: "response.output_audio_transcript.delta", item_id: "a1", delta: "We are open daily" });
  call.receive({ type: "kaiwa.speech.marks", item_id: "a1", marks: [[17, 1700]] });
  speaker.tell("cleared", { item: "a1", playedMs: 1600 });
  call.receive({ type: "conversation.item.truncated", item_id: "a1", audio_end_ms: 500 });
  assert.equal(call.transcript.find("a1").heard, "We are ".length);
});

test("over WebRTC an answer that is stopped by hand is cleared where it is played", () => {
  const { call, sent } = openCall({ kind: "webrtc" });
  answer(call, 1);
  call.receive({ type: "output_audio_buffer.started", response_id: "r1" });
  sent.length = 0;
  call.silence();
  assert.deepEqual(types(sent), ["response.cancel", "output_audio_buffer.clear"]);
});

test("an answer that is played to its end over WebRTC is finished when the server says so", () => {
  const { call, speaker } = openCall({ kind: "webrtc" });
  answer(call, 1);
  call.receive({ type: "output_audio_buffer.started", response_id: "r1" });
  call.receive(done(1, "completed"));
  assert.equal(call.isAnswering, true);
  call.receive({ type: "output_audio_buffer.stopped", response_id: "r1" });
  assert.deepEqual(speaker.asked.at(-1), ["stop"]);
});

test("the same conversation over another link is told to its new session", () => {
  const { call, sent } = openCall();
  call.transcript.typed("u1", "when?");
  answer(call, 1);
  call.receive({ type: "response.output_audio_transcript.delta", item_id: "a1", delta: "We are open daily" });
  call.receive({ type: "kaiwa.speech.marks", item_id: "a1", marks: [[6, 600], [17, 1700]] });
  call.transcript.played("a1", 600);
  sent.length = 0;
  call.connection.goesOn = true;
  call.receive({ type: "session.created", session: { id: "s2" } });
  assert.deepEqual(types(sent), ["session.update", "conversation.item.create", "conversation.item.create"]);
  const said = sent.slice(1).map(({ item }) => [item.role, item.content[0].type, item.content[0].text]);
  assert.deepEqual(said, [["user", "input_text", "when?"], ["assistant", "output_text", "We are"]]);
  assert.ok(!call.transcript.entries.some(({ role }) => role === "divider"));
});

test("a session that is really new has a line before it, and is told nothing", () => {
  const { call, sent } = openCall();
  call.transcript.typed("u1", "when?");
  sent.length = 0;
  call.receive({ type: "session.created", session: { id: "s2" } });
  assert.deepEqual(types(sent), ["session.update"]);
  assert.equal(call.transcript.entries.at(-1).role, "divider");
  assert.deepEqual(call.transcript.said(), []);
});

for (const wasLost of [true, false]) {
  test(`the line before a new session says whether the one before was lost: ${wasLost}`, () => {
    const { call } = openCall();
    call.transcript.typed("u1", "when?");
    call.connection.brokeOff = wasLost;
    call.receive({ type: "session.created", session: { id: "s2" } });
    assert.equal(call.transcript.entries.at(-1).wasLost, wasLost);
  });
}

test("who is refused is not listened to, and talks again from the next try on", () => {
  const { call } = openCall({ hasSpeaker: false });
  const tried = [];
  call.start = (deviceId) => tried.push(["start", deviceId]);
  call.connection.open = () => tried.push(["open"]);
  let isOpen = true;
  call.sound = { speaker: null, close: () => (isOpen = false) };
  call.phase = "live";
  call.connection.track = "microphone";
  call.questions = ["when?"];
  call.follow({ state: "blocked", reason: "key-needed" });
  assert.deepEqual([call.phase, isOpen, call.connection.track], ["idle", false, null]);
  assert.deepEqual(call.questions, ["when?"]);
  call.retry("usb");
  call.stop();
  call.follow({ state: "blocked", reason: "key-needed" }); // of a typed question
  call.retry("usb");
  assert.deepEqual(tried, [["start", "usb"], ["open"]]);
});

test("the longest question is as long as the server takes one", () => {
  const requests = readFileSync(new URL("../../voice/requests.py", import.meta.url), "utf8");
  const [, most] = requests.match(/^MAX_TEXT_CHARS = ([\d_]+)$/m);
  assert.equal(MOST_QUESTION_CHARS, Number(most.replaceAll("_", "")));
});
