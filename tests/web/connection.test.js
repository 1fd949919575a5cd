import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Connection } from "../../web/connection.js";
import { texts } from "../../web/i18n.js";

beforeEach((context) => {
  globalThis.RTCPeerConnection = class {};
  context.mock?.timers.reset();
});

/** A link that does what it is told to. */
class ScriptedLink extends EventTarget {
  sent = [];
  isClosed = false;

  constructor(kind, options) {
    super();
    Object.assign(this, { kind, options });
  }

  open() {}

  close() {
    this.isClosed = true;
  }

  carry(track) {
    this.carried = track;
  }

  send(event) {
    this.sent.push(event);
  }

  greet() {
    this.tell("event", { type: "session.created", session: { id: "s" } });
  }

  lose(reason) {
    this.tell("lost", { reason });
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @param {object} settings of the connection; `track` a microphone by default */
function connect({ track = "microphone", ...settings } = {}) {
  const dialled = [];
  const make = (kind) => (options) => {
    dialled.push(new ScriptedLink(kind, options));
    return dialled.at(-1);
  };
  const connection = new Connection({ websocket: make("websocket"), webrtc: make("webrtc") });
  const said = [];
  connection.addEventListener("state", ({ detail }) => said.push([detail.state, detail.reason]));
  Object.assign(connection, { track, ...settings });
  connection.open();
  const kinds = () => dialled.map(({ kind }) => kind);
  return { connection, dialled, said, kinds };
}

test("a call with a microphone goes over WebRTC, and sends its track and key", () => {
  const { connection, dialled, kinds } = connect({ key: "secret" });
  assert.deepEqual(kinds(), ["webrtc"]);
  assert.deepEqual(dialled[0].options, { key: "secret", track: "microphone" });
  assert.deepEqual([connection.kind, connection.why], ["webrtc", ""]);
});

test("typed questions alone need no media", () => {
  const { connection, kinds } = connect({ track: null });
  assert.deepEqual([kinds(), connection.why], [["websocket"], ""]);
});

test("without WebRTC in the browser it is the WebSocket, and that is said", () => {
  delete globalThis.RTCPeerConnection;
  const { connection, kinds } = connect();
  assert.deepEqual([kinds(), connection.why], [["websocket"], "webrtc-unsupported"]);
});

for (const reason of ["webrtc-off", "webrtc-refused", "webrtc-no-path"]) {
  test(`${reason}: the WebSocket takes over at once, says why, and stays for a while`, (context) => {
    const { connection, dialled, said, kinds } = connect();
    dialled[0].lose(reason);
    assert.deepEqual(kinds(), ["webrtc", "websocket"]);
    assert.ok(dialled[0].isClosed);
    assert.equal(connection.why, reason);
    assert.ok(`why-${reason}` in texts.en);
    dialled[1].greet();
    assert.deepEqual(said.map(([state]) => state), ["connecting", "connecting", "open"]);
    connection.close();
    connection.open();
    assert.equal(kinds().at(-1), "websocket");
    connection.close();
    context.mock.timers.enable({ apis: ["Date"], now: connection.avoided.until });
    connection.open();
    assert.equal(kinds().at(-1), "webrtc", "an hour later, or when the server has room again");
    context.mock.timers.reset();
    dialled.at(-1).lose(reason);
    connection.close();
    connection.forgive(); // another network
    connection.open();
    assert.equal(kinds().at(-1), "webrtc");
  });

  test(`${reason}: chosen by hand, WebRTC is not replaced`, (context) => {
    context.mock.timers.enable({ apis: ["setInterval"] });
    const { dialled, said, kinds } = connect({ wanted: "webrtc" });
    dialled[0].lose(reason);
    assert.deepEqual(kinds(), ["webrtc"]);
    assert.deepEqual(said.at(-1), [reason === "webrtc-off" ? "blocked" : "waiting", reason]);
    assert.ok(reason in texts.en);
  });
}

test("a refusal that concerns every link is not tried over another", () => {
  for (const reason of ["key-needed", "origin-refused"]) {
    const { dialled, said, kinds } = connect();
    dialled[0].lose(reason);
    assert.deepEqual([kinds(), said.at(-1)], [["webrtc"], ["blocked", reason]]);
  }
});

test("media that are lost in a call are looked for anew, the conversation goes on", () => {
  const { connection, dialled, kinds } = connect();
  dialled[0].greet();
  dialled[0].lose("webrtc-lost");
  assert.deepEqual([kinds(), connection.goesOn], [["webrtc", "webrtc"], true]);
  dialled[1].greet();
  assert.equal(connection.goesOn, false);
  dialled[1].lose("webrtc-lost");
  assert.deepEqual(kinds(), ["webrtc", "webrtc", "websocket"]);
  assert.deepEqual([connection.why, connection.goesOn], ["webrtc-lost", true]);
});

test("media that do not come back are replaced by the WebSocket, the conversation goes on", () => {
  const { connection, dialled, kinds } = connect();
  dialled[0].greet();
  dialled[0].lose("webrtc-lost");
  dialled[1].lose("webrtc-no-path");
  assert.deepEqual([kinds().at(-1), connection.goesOn], ["websocket", true]);
});

test("the link is changed by hand in the middle of a call", () => {
  const { connection, dialled, kinds } = connect();
  dialled[0].greet();
  connection.want("websocket");
  assert.deepEqual([kinds(), connection.goesOn, connection.why], [["webrtc", "websocket"], true, ""]);
  assert.ok(dialled[0].isClosed);
  dialled[1].greet();
  connection.want("auto");
  assert.equal(kinds().at(-1), "webrtc");
  dialled[2].greet();
  connection.want("webrtc");
  assert.equal(kinds().length, 3, "it is the one already");
});

test("who begins to talk in a typed conversation gets WebRTC, and the conversation goes on", () => {
  const { connection, dialled, kinds } = connect({ track: null });
  dialled[0].greet();
  connection.carry("microphone");
  connection.open();
  assert.deepEqual([kinds(), connection.goesOn], [["websocket", "webrtc"], true]);
});

test("a link that was given up says nothing any more", () => {
  const { connection, dialled, said } = connect();
  dialled[0].greet();
  connection.want("websocket");
  const before = said.length;
  dialled[0].lose("call-broke");
  dialled[0].greet();
  assert.equal(said.length, before);
});

test("a call that is over is not tried again", () => {
  const { dialled, said, kinds } = connect();
  dialled[0].greet();
  dialled[0].lose("call-ended");
  assert.deepEqual([said.at(-1), kinds()], [["closed", "call-ended"], ["webrtc"]]);
});

for (const reason of ["server-stopping", "call-refused", "frame-too-long", "call-broke", "server-gone"]) {
  test(`a call that was lost as ${reason} says so and is tried again`, (context) => {
    context.mock.timers.enable({ apis: ["setInterval"] });
    const { dialled, said } = connect();
    dialled[0].greet();
    dialled[0].lose(reason);
    assert.deepEqual(said.at(-1), ["waiting", reason]);
  });
}

test("a server that stopped is said to have stopped until it is back", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { connection, dialled, said } = connect();
  const lose = (reason) => {
    dialled.at(-1).lose(reason);
    const told = said.at(-1)[1];
    connection.open();
    return told;
  };
  dialled[0].greet();
  assert.equal(lose("server-stopping"), "server-stopping");
  assert.equal(lose("server-gone"), "server-stopping");
  dialled.at(-1).greet();
  assert.equal(lose("server-gone"), "server-gone");
  assert.equal(lose("server-gone"), "server-gone");
});

test("only what was lost while it was open has broken off", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { connection, dialled } = connect();
  const broke = [];
  connection.addEventListener("event", () => broke.push(connection.brokeOff));
  dialled.at(-1).greet();
  connection.close(); // by hand
  connection.want("websocket");
  connection.open();
  dialled.at(-1).lose("server-gone"); // before there was a session
  connection.open();
  dialled.at(-1).greet();
  dialled.at(-1).lose("server-gone");
  connection.open();
  dialled.at(-1).lose("server-gone");
  connection.open();
  dialled.at(-1).greet();
  dialled.at(-1).lose("call-ended");
  connection.close();
  connection.open();
  dialled.at(-1).greet();
  assert.deepEqual(broke, [false, false, true, false]);
});

test("a server that is back is called at once, and one that only says so not again and again", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { connection, dialled, kinds } = connect({ wanted: "websocket" });
  const look = (takesCalls) => {
    connection.noticeServer(takesCalls);
    return kinds().length;
  };
  dialled[0].greet();
  assert.equal(look(true), 1);
  dialled[0].lose("server-gone");
  assert.equal(look(false), 1);
  assert.equal(look(true), 2);
  dialled[1].lose("server-gone");
  assert.equal(look(true), 2, "it was not gone in between: the wait grows");
  assert.equal(look(false), 2);
  assert.equal(look(true), 3);
  dialled[2].greet();
  dialled[2].lose("server-gone");
  assert.equal(look(true), 4, "gone and back between two looks");
});

test("a full server answers all the while, and is not called for that", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { connection, dialled, kinds } = connect({ wanted: "websocket" });
  dialled[0].lose("server-full");
  connection.noticeServer(false);
  connection.noticeServer(true);
  assert.equal(kinds().length, 1);
});
