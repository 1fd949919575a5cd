// The page: keys, buttons and what they show.

import { AudioSettings } from "./audio-settings.js";
import { Call, MOST_QUESTION_CHARS } from "./call.js";
import { ConnectionView } from "./connection-view.js";
import { language, preferredLanguage, speak, t } from "./i18n.js";
import { Meter } from "./meter.js";
import { Notices } from "./notices.js";
import { showProviders } from "./providers-view.js";
import { remembered } from "./remembered.js";
import { SourceDialog } from "./sources.js";
import { Status, providers } from "./status.js";
import { showFigures, showWaterfall } from "./timeline-view.js";
import { Transcript } from "./transcript.js";
import { TranscriptView } from "./transcript-view.js";

const $ = (id) => document.getElementById(id);
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
const { connection } = call;
const authorization = () => (connection.key ? { Authorization: `Bearer ${connection.key}` } : {});
const sources = new SourceDialog($("source"), authorization);
const view = new TranscriptView($("transcript"), $("announcer"), (source) => sources.open(source));
const status = new Status(authorization);
const meters = {
  caller: new Meter($("meter-caller"), false),
  agent: new Meter($("meter-agent"), true),
};
const audio = new AudioSettings(call, () => notices.hideAll(START_NOTICES));
const line = new ConnectionView(connection, notices, retry);

// --- The call -------------------------------------------------------------------------------------

async function talkOrMute() {
  if (call.phase === "live") {
    call.toggleMute();
    return;
  }
  notices.hideAll(START_NOTICES);
  await call.start(audio.microphoneId);
  await audio.list();
}

function retry() {
  status.look();
  notices.hideAll(START_NOTICES);
  return call.retry(audio.microphoneId);
}

function stop() {
  if (call.isAnswering) call.silence();
  else call.stop();
}

function showCall() {
  const { phase, isMuted, isAnswering } = call;
  const hasLine = !["closed", "blocked"].includes(connection.state);
  document.body.dataset.phase = phase;
  document.body.dataset.muted = String(isMuted);
  document.body.dataset.answering = String(isAnswering);
  const label = { idle: "talk", starting: "starting", live: isMuted ? "unmute" : "mute" }[phase];
  $("talk").querySelector(".label").textContent = t(label);
  $("talk").setAttribute("aria-pressed", String(phase === "live" && !isMuted));
  $("stop").disabled = phase === "idle" && !hasLine && !isAnswering;
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
    const panel = document.querySelector("details.panel[open]");
    if (panel) {
      panel.open = false;
      panel.querySelector("summary").focus();
    } else if (!$("stop").disabled) stop();
  }
});

window.addEventListener("online", () => {
  connection.forgive();
  if (connection.state === "waiting") connection.open();
});
window.addEventListener("pagehide", () => call.stop());

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
  const counts = [t("turns", { n: call.turns.length })];
  const gaps = call.speaker ? call.speaker.underruns : 0;
  if (gaps !== null) counts.push(t("underruns", { n: gaps }));
  $("own-count").textContent = counts.join(" · ");
  $("server-count").textContent = t("turns", { n: status.performance?.turns ?? "–" });
}

function showStatus() {
  showProviders($("providers"), providers(status.ready));
  const isKnownGone = connection.state === "waiting"; // its own notice says so
  if (status.isReachable || isKnownGone) notices.hide("server-unreachable");
  else notices.show("server-unreachable");
  showPerformance();
}

status.addEventListener("change", () => {
  showStatus();
  line.noticeServer(status.isReachable);
  connection.noticeServer(status.takesCalls);
});

// --- Language and theme ---------------------------------------------------------------------------

function setLanguage(tag) {
  speak(tag);
  call.setLanguage(tag);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language()));
  }
  notices.translate();
  view.showAll(transcript.entries);
  line.translate();
  showCall();
  showTurns();
  showStatus();
  audio.showGranted();
  audio.list();
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
      const { phase, isMuted, isAnswering } = call;
      const { state, kind, why } = connection;
      return { phase, isMuted, isAnswering, connection: state, kind, why };
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
    get quality() {
      return copy(line.figures);
    },
    get granted() {
      return copy(call.microphone?.granted ?? null);
    },
  }),
});

unfold();
setTheme(remembered.get("theme") ?? "");
setLanguage(remembered.get("language") ?? preferredLanguage());
status.watch();
