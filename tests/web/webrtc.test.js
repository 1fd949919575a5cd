import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { texts } from "../../web/i18n.js";
import { Peer } from "../../web/webrtc.js";

const { fetch } = globalThis;
let asked; // every request: {method, path, headers, body}
let answers; // by "METHOD path"
let peers;

class ScriptedConnection extends EventTarget {
  iceGatheringState = "complete";
  localDescription = { sdp: "the offer" };
  isClosed = false;

  constructor(options) {
    super();
    this.options = options;
    peers.push(this);
  }

  createDataChannel(label) {
    this.channel = { label, readyState: "open", sent: [], send: (text) => this.channel.sent.push(text) };
    return this.channel;
  }

  addTransceiver(track) {
    return { sender: { replaceTrack: (other) => (this.sent = other) }, track };
  }

  async setLocalDescription() {}

  async getStats() {
    return new Map();
  }

  async setRemoteDescription({ sdp }) {
    this.answer = sdp;
  }

  close() {
    this.isClosed = true;
  }
}

beforeEach(() => {
  [asked, peers] = [[], []];
  answers = {
    "GET v1/realtime/ice": () => Response.json({ iceServers: [{ urls: "stun:relay.example" }] }),
    "POST v1/realtime/calls": () =>
      new Response("the answer", { status: 201, headers: { Location: "/v1/realtime/calls/rtc_1" } }),
  };
  globalThis.RTCPeerConnection = ScriptedConnection;
  globalThis.MediaStream = class {};
  globalThis.fetch = async (url, { method = "GET", headers, body } = {}) => {
    const path = String(url);
    asked.push({ method, path, key: new Headers(headers).get("Authorization"), body });
    return answers[`${method} ${path}`]?.() ?? new Response("", { status: 200 });
  };
});

afterEach(() => {
  globalThis.fetch = fetch;
  delete globalThis.RTCPeerConnection;
  delete globalThis.MediaStream;
});

/** A peer, and why it was lost. */
async function opened(options = {}) {
  const peer = new Peer(options);
  const lost = [];
  peer.addEventListener("lost", ({ detail }) => lost.push(detail.reason));
  await peer.open();
  return { peer, lost };
}

const tell = (event) => peers[0].channel.onmessage({ data: JSON.stringify(event) });

test("an offer goes with the key, over the ICE servers that the server names", async () => {
  const { peer, lost } = await opened({ key: "secret" });
  assert.deepEqual(asked.map(({ method, path, key, body }) => [method, path, key, body]), [
    ["GET", "v1/realtime/ice", "Bearer secret", undefined],
    ["POST", "v1/realtime/calls", "Bearer secret", "the offer"],
  ]);
  assert.deepEqual(peers[0].options.iceServers, [{ urls: "stun:relay.example" }]);
  assert.deepEqual([peers[0].channel.label, peers[0].answer, lost], ["oai-events", "the answer", []]);
  peer.close();
});

for (const [status, reason] of [
  [401, "key-needed"], [403, "origin-refused"],
  [404, "webrtc-off"], [405, "webrtc-off"],
  [400, "webrtc-refused"], [429, "webrtc-refused"], [503, "webrtc-refused"], [500, "webrtc-refused"],
]) {
  for (const request of ["GET v1/realtime/ice", "POST v1/realtime/calls"]) {
    test(`${status} to ${request} is ${reason}, and nothing is left behind`, async () => {
      answers[request] = () => new Response("{}", { status });
      const { lost } = await opened();
      assert.deepEqual(lost, [reason]);
      assert.ok(peers.every(({ isClosed }) => isClosed));
      assert.ok(reason in texts.en);
    });
  }
}

test("a server that does not answer is gone, whatever the link", async () => {
  answers["POST v1/realtime/calls"] = () => {
    throw new TypeError("network");
  };
  assert.deepEqual((await opened()).lost, ["server-gone"]);
});

test("a server that takes too long over the offer is called over the other link", async () => {
  answers["POST v1/realtime/calls"] = () => {
    throw new DOMException("late", "TimeoutError");
  };
  assert.deepEqual((await opened()).lost, ["webrtc-refused"]);
});

test("a key that no header may hold is refused without being sent", async () => {
  assert.deepEqual((await opened({ key: "ключ" })).lost, ["key-needed"]);
  assert.deepEqual(asked, []);
});

test("without a path to the server the call is lost after seconds, and hung up", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { lost } = await opened();
  context.mock.timers.tick(3999);
  assert.deepEqual(lost, []);
  context.mock.timers.tick(1);
  assert.deepEqual(lost, ["webrtc-no-path"]);
  assert.deepEqual([asked.at(-1).method, asked.at(-1).path], ["DELETE", "v1/realtime/calls/rtc_1"]);
});

test("the connection is closed when the server knows that the call is over", async () => {
  let answer;
  answers["DELETE v1/realtime/calls/rtc_1"] = () => new Promise((resolve) => (answer = resolve));
  const { peer } = await opened({ track: "microphone" });
  peer.close();
  assert.deepEqual([peers[0].sent, peers[0].isClosed], [null, false], "nothing is sent any more");
  answer(new Response(""));
  await new Promise(setImmediate);
  assert.ok(peers[0].isClosed);
});

test("hung up while the answer is on its way, the call is still ended there", async () => {
  let peer;
  answers["POST v1/realtime/calls"] = () => {
    peer.close();
    return new Response("late", { status: 201, headers: { Location: "/v1/realtime/calls/rtc_2" } });
  };
  peer = new Peer({ key: "secret" });
  await peer.open();
  const { method, path, key } = asked.at(-1);
  assert.deepEqual([method, path, key], ["DELETE", "v1/realtime/calls/rtc_2", "Bearer secret"]);
});

test("a channel that closes is a call that broke, unless the server has said why", async () => {
  for (const [code, reason] of [[null, "call-broke"], [1000, "call-ended"], [1001, "server-stopping"]]) {
    peers.length = 0;
    const { lost } = await opened();
    tell({ type: "session.created", session: {} });
    if (code !== null) tell({ type: "kaiwa.call.ended", code, reason: "" });
    peers[0].channel.onclose();
    assert.deepEqual(lost, [reason]);
    assert.ok(!asked.some(({ method }) => method === "DELETE"), "it is over there");
  }
});

test("a call that the server ended is over, though nothing more comes of it", async (context) => {
  const { lost } = await opened();
  context.mock.timers.enable({ apis: ["setTimeout"] });
  tell({ type: "kaiwa.call.ended", code: 1000, reason: "" });
  assert.deepEqual(lost, []);
  context.mock.timers.tick(1500);
  assert.deepEqual(lost, ["call-ended"]);
});

test("a path that comes back within seconds is none that was lost", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const { peer, lost } = await opened();
  tell({ type: "session.created", session: {} });
  peer.follow("disconnected");
  context.mock.timers.tick(3000);
  peer.follow("connected");
  context.mock.timers.tick(3000);
  assert.deepEqual(lost, []);
  peer.follow("disconnected");
  context.mock.timers.tick(4000);
  assert.deepEqual(lost, ["webrtc-lost"]);
});

test("another microphone replaces the track that is sent", async () => {
  const { peer } = await opened();
  peer.carry("another");
  assert.equal(peers[0].sent, "another");
  peer.close();
});

test("an event that is too long for the channel is told, and ends nothing", async () => {
  const { peer, lost } = await opened();
  const told = [];
  peer.addEventListener("event", ({ detail }) => told.push(detail));
  peers[0].channel.send = () => {
    throw new TypeError("too long");
  };
  peer.send({ type: "response.create" });
  assert.deepEqual([told[0].type, told[0].error.message, lost], ["error", "too long", []]);
  peer.close();
});
