import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { t, texts } from "../../web/i18n.js";

const page = readFileSync(new URL("../../web/index.html", import.meta.url), "utf8");

test("every text exists in both languages, with the same places", () => {
  assert.deepEqual(Object.keys(texts.ja), Object.keys(texts.en));
  const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();
  for (const [name, text] of Object.entries(texts.en)) {
    assert.deepEqual(places(texts.ja[name]), places(text), name);
  }
});

test("every text that the page names exists", () => {
  for (const [, name] of page.matchAll(/data-t(?:-label|-placeholder)?="([^"]+)"/g)) {
    assert.ok(name in texts.en, name);
  }
});

test("the page holds nothing that its content policy forbids, and no other host", () => {
  assert.doesNotMatch(page, /<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?:\/\//);
});

test("what comes from outside cannot turn a message round", () => {
  const detail = "\u202eevil\u2069\u2067 \u05d0";
  assert.equal(t("server-error", { detail }), "The server reports: evil \u05d0");
});

test("the server's warnings are for its operator: the page has no words to show them with", () => {
  for (const name of ["status.js", "main.js", "notices.js"]) {
    const code = readFileSync(new URL(`../../web/${name}`, import.meta.url), "utf8");
    assert.doesNotMatch(code, /\.warnings/, name);
  }
  assert.ok(!("warning" in texts.en));
});
