// The page: keys, buttons and what they show.

import { Call, MOST_QUESTION_CHARS } from "./call.js";
import { language, preferredLanguage, speak, t } from "./i18n.js";
import { Meter } from "./meter.js";
import { Microphone } from "./microphone.js";
import { Notices } from "./notices.js";
import { showProviders } from "./providers-view.js";
import { SourceDialog } from "./sources.js";
import { Status, providers } from "./status.js";
import { showFigures, showWaterfall } from "./timeline-view.js";
import { Transcript } from "./transcript.js";
import { TranscriptView } from "./transcript-view.js";

const $ = (id) => document.getElementById(id);
const CONNECTION_NOTICES = [
  "server-gone",
  "server-stopping",
  "server-full",
  "key-needed",
  "key-refused",
  "origin-refused",
];
// The next connection follows at once, or none does; these are still to be read then.
const ENDINGS = ["call-ended", "call-refused", "frame-too-long", "call-broke"];
const START_NOTICES = [
  "mic-refused",
  "mic-missing",
  "mic-in-use",
  "mic-failed",
  "mic-lost",
  "mic-unsupported",
  "insecure-context",
  "audio-failed",
];

const notices = new Notices($("notices"));
const transcript = new Transcript((entry) => {
  if (entry) view.show(entry);
  else view.showAll(transcript.entries);
  $("welcome").hidden = transcript.entries.length > 0;
});
const call = new Call(transcript);
const authorization = () => (call.socket.key ? { Authorization: `Bearer ${call.socket.key}` } : {});
const sources = new SourceDialog($("source"), authorization);
const view = new TranscriptView($("transcript"), $("announcer"), (source) => sources.open(source));
const status = new Status(authorization);
const meters = {
  caller: new Meter($("meter-caller"), false),
  agent: new Meter($("meter-agent"), true),
};

// --- Remembered choices: the key for this tab only -----------------------------------------------

const remembered = {
  get: (name) => attempt(() => localStorage.getItem(`kaiwa.${name}`)),
  set: (name, value) => attempt(() => localStorage.setItem(`kaiwa.${name}`, value)),
};

/** Storage may be forbidden; the page works without. */
function attempt(access) {
  try {
    return access();
  } catch {
    return null;
  }
}

call.socket.key = attempt(() => sessionStorage.getItem("kaiwa.key")) ?? "";

// --- The call -------------------------------------------------------------------------------------

async function talkOrMute() {
  if (call.phase === "live") {
    call.toggleMute();
    return;
  }
  notices.hideAll(START_NOTICES);
  await call.start(remembered.get("device") ?? "");
  await listDevices();
}

function stop() {
  if (call.isAnswering) call.silence();
  else call.stop();
}

function showCall() {
  const { phase, isMuted, isAnswering } = call;
  const isOpen = call.socket.state !== "closed";
  document.body.dataset.phase = phase;
  document.body.dataset.muted = String(isMuted);
  document.body.dataset.answering = String(isAnswering);
  const label = { idle: "talk", starting: "starting", live: isMuted ? "unmute" : "mute" }[phase];
  $("talk").querySelector(".label").textContent = t(label);
  $("talk").setAttribute("aria-pressed", String(phase === "live" && !isMuted));
  $("stop").disabled = phase === "idle" && !isOpen && !isAnswering;
  const stopLabel = t(isAnswering ? "stop-answer" : "stop");
  $("stop").setAttribute("aria-label", stopLabel);
  $("stop").title = stopLabel;
  if (phase !== "live" || isMuted) meters.caller.clear();
  if (!isAnswering) meters.agent.clear();
}

call.addEventListener("change", showCall);
call.addEventListener("level", ({ detail }) => meters[detail.who].push(detail.rms));
call.addEventListener("problem", ({ detail }) => {
  notices.show(detail.code, { detail: detail.detail }, { passes: detail.code === "server-error" });
});
call.addEventListener("fine", ({ detail }) => notices.hide(detail.code));
call.addEventListener("turn", showTurns);

$("talk").addEventListener("click", talkOrMute);
$("stop").addEventListener("click", stop);
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("question").value.trim();
  if (!text || isTooLong(text)) return;
  $("question").value = "";
  call.ask(text);
});
$("question").addEventListener("input", ({ target }) => isTooLong(target.value.trim()));

/** Says so: a field that cuts what is pasted into it changes the question without a word. */
function isTooLong(text) {
  const { length } = [...text];
  const isLong = length > MOST_QUESTION_CHARS;
  const number = (value) => value.toLocaleString(language());
  if (isLong) {
    const values = { length: number(length), most: number(MOST_QUESTION_CHARS) };
    notices.show("question-too-long", values, { tone: "warning" });
  } else {
    notices.hide("question-too-long");
  }
  $("question").setAttribute("aria-invalid", String(isLong));
  return isLong;
}
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.repeat || $("source").open) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isOnControl = event.target.closest("input, select, textarea, button, summary, a");
  if (event.code === "Space" && !isOnControl) {
    event.preventDefault();
    talkOrMute();
  } else if (event.key === "Escape") {
    if ($("device").open) $("device").open = false;
    else if (!$("stop").disabled) stop();
  }
});

// --- The connection -------------------------------------------------------------------------------

call.socket.addEventListener("state", ({ detail: { state, reason, retryS } }) => {
  const element = $("connection");
  element.dataset.state = state;
  const text = element.querySelector(".text");
  const words = t(`state-${state}`);
  if (text.textContent !== words) text.textContent = words;

  const code = reason === "key-needed" && call.socket.key ? "key-refused" : reason;
  if (state !== "connecting") notices.hideAll(CONNECTION_NOTICES.filter((other) => other !== code));
  if (ENDINGS.includes(code)) {
    notices.show(code, {}, { passes: true });
  } else if (state === "waiting") {
    const action = ["retry-now", () => call.socket.open()];
    notices.show(code, {}, { action, aside: t("retry-in", { s: retryS }) });
  } else if (state === "blocked") {
    notices.show(code, { detail: location.origin });
  }
  const asksForKey = state === "blocked" && reason === "key-needed";
  if (asksForKey !== !$("key-form").hidden && state !== "connecting") {
    $("key-form").hidden = !asksForKey;
    if (asksForKey) $("key").focus();
  }
});

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = $("key").value.trim();
  $("key").value = "";
  call.socket.key = key;
  attempt(() => sessionStorage.setItem("kaiwa.key", key));
  call.socket.open();
  status.look();
});

window.addEventListener("online", () => {
  if (call.socket.state === "waiting") call.socket.open();
});
window.addEventListener("pagehide", () => call.stop());

// --- The microphone's choice ----------------------------------------------------------------------

async function listDevices() {
  const devices = await Microphone.devices();
  const options = devices.map(({ deviceId, label }, index) => {
    return new Option(label || t("device-number", { n: index + 1 }), deviceId);
  });
  if (!devices.some(({ deviceId }) => deviceId === "default")) {
    options.unshift(new Option(t("device-default"), ""));
  }
  $("devices").replaceChildren(...options);
  $("devices").value = call.microphone?.deviceId || remembered.get("device") || "";
  if ($("devices").selectedIndex < 0) $("devices").selectedIndex = 0;
}

$("devices").addEventListener("change", ({ target }) => {
  remembered.set("device", target.value);
  notices.hideAll(START_NOTICES);
  call.choose(target.value);
});
navigator.mediaDevices?.addEventListener("devicechange", async () => {
  // The one that was unplugged may be back, or another in its place.
  if (call.microphone && !call.microphone.isOpen) await call.choose(remembered.get("device") ?? "");
  await listDevices();
});
document.addEventListener("click", ({ target }) => {
  if (!$("device").contains(target)) $("device").open = false;
});

// --- Status and figures ---------------------------------------------------------------------------

function showTurns() {
  showWaterfall($("waterfall"), $("legend"), call.turns);
  $("no-turns").hidden = call.turns.length > 0;
  const last = call.turns.findLast((turn) => Number.isFinite(turn.tts_start_ms));
  $("last-total").textContent = last ? `${Math.round(last.tts_start_ms)} ms` : "";
  showPerformance();
}

function showPerformance() {
  showFigures($("figures"), call.turns, status.performance?.figures);
  const gaps = t("underruns", { n: call.speaker?.underruns ?? 0 });
  $("own-count").textContent = `${t("turns", { n: call.turns.length })} · ${gaps}`;
  $("server-count").textContent = t("turns", { n: status.performance?.turns ?? "–" });
}

function showStatus() {
  showProviders($("providers"), providers(status.ready));
  showWarnings((status.ready?.warnings ?? []).join(" · "));
  if (status.isReachable) notices.hide("server-unreachable");
  else if (call.socket.state !== "waiting") notices.show("server-unreachable");
  showPerformance();
}

let lastWarnings = "";

/** Once: dismissed, the same warnings do not come back every five seconds. */
function showWarnings(text) {
  if (text === lastWarnings) return;
  lastWarnings = text;
  if (text) notices.show("warning", { text }, { tone: "warning" });
  else notices.hide("warning");
}

status.addEventListener("change", showStatus);

// --- Language and theme ---------------------------------------------------------------------------

function setLanguage(tag) {
  speak(tag);
  call.setLanguage(tag);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language()));
  }
  notices.translate();
  view.showAll(transcript.entries);
  call.socket.change(call.socket.state, ...call.socket.said);
  showCall();
  showTurns();
  showStatus();
  listDevices();
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    remembered.set("language", button.dataset.language);
    setLanguage(button.dataset.language);
  });
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  for (const meter of Object.values(meters)) meter.request();
}

$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light");
  const theme = now === "dark" ? "light" : "dark";
  remembered.set("theme", theme);
  setTheme(theme);
});
prefersDark.addEventListener("change", () => setTheme(""));

// On a wide screen the latency stands beside the conversation and is always open.
const isWide = matchMedia("(min-width: 62rem)");
const unfold = () => {
  $("latency").open = isWide.matches;
  $("latency").querySelector("summary").tabIndex = isWide.matches ? -1 : 0;
};
isWide.addEventListener("change", unfold);

// --- For the curious and for tests: to look at, not to change --------------------------------------

const copy = (value) => structuredClone(value);
Object.defineProperty(window, "kaiwa", {
  value: Object.freeze({
    get state() {
      const { phase, isMuted, isAnswering, socket } = call;
      return { phase, isMuted, isAnswering, connection: socket.state };
    },
    get turns() {
      return copy(call.turns);
    },
    get transcript() {
      return copy(transcript.entries);
    },
    get playedMs() {
      return call.playedMs;
    },
    get underruns() {
      return call.speaker?.underruns ?? 0;
    },
    get session() {
      return copy(call.session);
    },
  }),
});

unfold();
setTheme(remembered.get("theme") ?? "");
setLanguage(remembered.get("language") ?? preferredLanguage());
status.watch();
