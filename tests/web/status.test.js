import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Status } from "../../web/status.js";

const { fetch } = globalThis;
let asked;
let answers;

beforeEach(() => {
  asked = [];
  answers = { ready: () => Response.json({ status: "ok" }), "api/performance": guarded };
  globalThis.fetch = async (path, { headers }) => {
    asked.push(path);
    return answers[path](headers.Authorization);
  };
});

afterEach(() => (globalThis.fetch = fetch));

function guarded(authorization) {
  if (authorization === "Bearer right") return Response.json({ turns: 3 });
  const error = { type: "invalid_request_error", code: "invalid_api_key", message: "", param: null };
  return Response.json({ error }, { status: 401 });
}

test("what was refused for want of a key is asked for again only with another key", async () => {
  let key = "";
  const status = new Status(() => (key ? { Authorization: `Bearer ${key}` } : {}));
  const looks = async () => {
    asked = [];
    for (let n = 0; n < 3; n += 1) await status.look();
    return asked.filter((path) => path === "api/performance").length;
  };
  assert.equal(await looks(), 1);
  assert.equal(status.performance, null, "the refusal is no figures");
  assert.equal(status.ready.status, "ok");
  key = "wrong";
  assert.equal(await looks(), 1);
  key = "right";
  assert.equal(await looks(), 3);
  assert.deepEqual(status.performance, { turns: 3 });
});

test("a server that stops can be reached, and takes no calls; one that is gone neither", async () => {
  const status = new Status(() => ({}));
  const told = async (ready) => {
    answers.ready = ready;
    await status.look();
    return [status.isReachable, status.takesCalls];
  };
  assert.deepEqual(await told(() => Response.json({})), [true, true]);
  assert.deepEqual(await told(() => Response.json({}, { status: 503 })), [true, false]);
  assert.deepEqual(await told(() => Promise.reject(new TypeError("refused"))), [false, false]);
});
