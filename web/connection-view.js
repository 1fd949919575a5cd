// The connection in the page's head: its state, what carries it, how good it is, and the choice.

import { language, t } from "./i18n.js";
import { remembered, rememberedKey } from "./remembered.js";

const KINDS = { webrtc: "WebRTC", websocket: "WebSocket" };
const NOTICES = [
  "server-gone",
  "server-stopping",
  "server-full",
  "key-needed",
  "key-refused",
  "origin-refused",
  "webrtc-off",
  "webrtc-refused",
  "webrtc-no-path",
];
// The next connection follows at once, or none does; these are still to be read then.
const ENDINGS = ["call-ended", "call-refused", "frame-too-long", "call-broke"];
/** Fallbacks that cost the caller time, or the network's best; a server without WebRTC is none. */
const TOLD = new Set(["webrtc-refused", "webrtc-no-path", "webrtc-lost"]);
const FIGURES = [
  ["quality-loss", ({ lossInPercent, lossOutPercent }) => [lossInPercent, lossOutPercent, "%", 1]],
  ["quality-jitter", ({ jitterMs }) => [jitterMs, undefined, "ms", 0]],
  ["quality-round-trip", ({ roundTripMs }) => [roundTripMs, undefined, "ms", 0]],
  ["quality-buffer", ({ bufferMs }) => [bufferMs, undefined, "ms", 0]],
];

const $ = (id) => document.getElementById(id);

export class ConnectionView {
  /**
   * @param {import("./connection.js").Connection} connection
   * @param {import("./notices.js").Notices} notices
   * @param {() => void} retry asked for what was refused, after another key or another link
   */
  constructor(connection, notices, retry) {
    this.connection = connection;
    this.notices = notices;
    this.retry = retry;
    this.figures = null;
    this.isAnswered = true; // by the server, when it was asked last
    this.told = "";
    connection.key = rememberedKey.get();
    connection.wanted = remembered.get("link") ?? "auto";
    connection.avoided = remembered.read("avoided") ?? connection.avoided;
    connection.addEventListener("state", ({ detail }) => {
      if (detail.state === "open") this.isAnswered = true; // just now
      this.show(detail);
    });
    connection.addEventListener("quality", ({ detail }) => this.showQuality(detail));
    $("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.useKey($("key").value.trim());
    });
    for (const choice of document.querySelectorAll("[name=link]")) {
      choice.checked = choice.value === connection.wanted;
      choice.addEventListener("change", () => this.choose(choice.value));
    }
    document.querySelector("[name=link][value=webrtc]").disabled = !window.RTCPeerConnection;
  }

  /** In the language of now. */
  translate() {
    const { state, said } = this.connection;
    this.show({ state, reason: said[0], retryS: said[1] });
  }

  choose(wanted) {
    remembered.set("link", wanted);
    this.connection.want(wanted);
    if (this.connection.state === "blocked") this.retry();
    this.showKind();
  }

  useKey(key) {
    $("key").value = "";
    this.connection.key = key;
    rememberedKey.set(key);
    this.notices.hideAll(["key-needed", "key-refused"]); // that was the other key
    this.retry();
  }

  /** Whether the server answers at all: a call that it does not answer in is not shown as good. */
  noticeServer(isAnswered) {
    if (isAnswered === this.isAnswered) return;
    this.isAnswered = isAnswered;
    this.showState(this.connection.state);
    this.showQuality(this.figures);
  }

  show({ state, reason, retryS }) {
    if (state !== "open") this.figures = null;
    remembered.set("avoided", JSON.stringify(this.connection.avoided));
    this.showState(state);
    this.showKind();
    this.showQuality(this.figures);
    this.showNotice(state, reason, retryS);
    const asksForKey = state === "blocked" && reason === "key-needed";
    if (asksForKey !== !$("key-form").hidden && state !== "connecting") {
      $("key-form").hidden = !asksForKey;
      if (asksForKey) $("key").focus();
    }
  }

  showState(state) {
    const shown = state === "open" && !this.isAnswered ? "silent" : state;
    $("connection").dataset.state = shown;
    write($("connection").querySelector(".text"), t(`state-${shown}`));
  }

  showNotice(state, reason, retryS) {
    const { notices, connection } = this;
    const code = reason === "key-needed" && connection.key ? "key-refused" : reason;
    if (state !== "connecting") notices.hideAll(NOTICES.filter((other) => other !== code));
    if (ENDINGS.includes(code)) {
      notices.show(code, {}, { passes: true });
    } else if (state === "waiting") {
      const action = ["retry-now", () => connection.open()];
      notices.show(code, {}, { action, aside: t("retry-in", { s: retryS }) });
    } else if (state === "blocked") {
      notices.show(code, { detail: location.origin });
    }
  }

  /** Which link it is, and why not the other. */
  showKind() {
    const { kind, why, state } = this.connection;
    const element = $("connection").querySelector(".kind");
    write(element, KINDS[kind] ?? "");
    element.title = why ? t(`why-${why}`) : "";
    $("link-why").hidden = !why;
    write($("link-why"), why ? t(`why-${why}`) : "");
    const isNews = state === "open" && why !== this.told;
    if (isNews) this.told = why;
    if (isNews && TOLD.has(why)) this.notices.show(`why-${why}`, {}, { tone: "warning", passes: true });
  }

  showQuality(figures) {
    this.figures = figures;
    const rating = (this.isAnswered && figures?.rating) || "";
    const element = $("connection").querySelector(".rating");
    element.hidden = !rating;
    element.dataset.rating = rating;
    write(element.querySelector(".word"), rating ? t(`quality-${rating}`) : "");
    element.title = figures ? FIGURES.map((figure) => `${t(figure[0])} ${told(figure, figures)}`).join("\n") : "";
    $("quality").hidden = !figures;
    $("no-quality").hidden = Boolean(figures);
    if (figures) $("quality").tBodies[0].replaceChildren(...FIGURES.map((each) => row(each, figures)));
  }
}

function row(figure, figures) {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = t(figure[0]);
  const cell = document.createElement("td");
  cell.textContent = told(figure, figures);
  line.append(head, cell);
  return line;
}

/** "0.4 / 1.2 %" or "23 ms". */
function told([, pick], figures) {
  const [first, second, unit, digits] = pick(figures);
  const options = { maximumFractionDigits: digits, minimumFractionDigits: digits };
  const number = (value) => (Number.isFinite(value) ? value.toLocaleString(language(), options) : "–");
  const numbers = second === undefined ? [first] : [first, second];
  return `${numbers.map(number).join(" / ")} ${unit}`;
}

/** The same words again would be read out again. */
function write(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
