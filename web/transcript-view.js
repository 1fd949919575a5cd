// The conversation on the page.
import { straight, t } from "./i18n.js";

const NEAR_END_PX = 80;

/**
 * @param {HTMLOListElement} list
 * @param {HTMLElement} announcer an aria-live region: the list itself changes too often to be read out
 * @param {(source: object) => void} openSource
 */
export class TranscriptView {
  constructor(list, announcer, openSource) {
    this.list = list;
    this.scroller = list.parentElement;
    this.announcer = announcer;
    this.openSource = openSource;
    this.rows = new Map();
    this.announced = new Set();
    this.follows = true; // until the reader scrolls up
    this.lastTop = 0;
    this.scroller.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.scroller;
      const isNearEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
      // Far from the end without having gone up: what was added is longer than the margin.
      if (isNearEnd || scrollTop < this.lastTop) this.follows = isNearEnd;
      this.lastTop = scrollTop;
    });
    const observer = new ResizeObserver(() => this.follow());
    observer.observe(this.scroller);
    observer.observe(list);
  }

  follow() {
    if (this.follows) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  show(entry) {
    const row = this.rows.get(entry.id) ?? this.append(entry);
    fill(row, entry, this.openSource);
    this.announce(entry);
  }

  /** After entries went, or the language changed. */
  showAll(entries) {
    const ids = new Set(entries.map((entry) => entry.id));
    for (const [id, row] of this.rows) {
      if (!ids.has(id)) row.remove();
      if (!ids.has(id)) this.rows.delete(id);
    }
    for (const entry of entries) {
      const row = this.rows.get(entry.id);
      if (row) delete row.dataset.sources;
      this.show(entry);
    }
  }

  append(entry) {
    const row = document.createElement("li");
    row.className = `entry ${entry.role}`;
    if (entry.role === "divider") {
      row.append(make("span", "rule"));
    } else {
      const words = make("p", "words");
      words.dir = "auto";
      row.append(make("span", "who"), words);
    }
    this.rows.set(entry.id, row);
    this.list.append(row);
    return row;
  }

  announce(entry) {
    const isDone =
      (entry.role === "caller" && entry.state === "final") ||
      // What is spoken is not read out over itself.
      (entry.role === "agent" && !entry.isSpoken && entry.state === "said");
    if (!isDone || this.announced.has(entry.id)) return;
    this.announced.add(entry.id);
    const who = t(entry.role === "caller" ? "you" : "kaiwa");
    this.announcer.append(make("p", "", `${who}: ${straight(entry.text)}`));
    while (this.announcer.children.length > 4) this.announcer.firstChild.remove();
  }
}

function fill(row, entry, openSource) {
  row.dataset.state = entry.state ?? "";
  if (entry.role === "divider") {
    row.firstChild.textContent = t(entry.wasLost ? "reconnected" : "new-conversation");
    return;
  }
  const [who, words] = row.children;
  who.textContent = t(entry.role === "caller" ? "you" : "kaiwa");
  words.replaceChildren(...(entry.role === "caller" ? callerWords(entry) : agentWords(entry)));
  if (entry.role === "agent") fillSources(row, entry.sources, openSource);
}

function callerWords(entry) {
  if (entry.state === "failed") return [make("span", "trouble", trouble("not-understood", entry))];
  if (entry.state === "listening") {
    const dots = make("span", "dots");
    dots.setAttribute("role", "img");
    dots.setAttribute("aria-label", t("listening"));
    dots.append(make("i"), make("i"), make("i"));
    return [dots];
  }
  const { text, stable } = entry;
  return [make("span", "stable", text.slice(0, stable)), make("span", "unstable", text.slice(stable))];
}

function agentWords(entry) {
  const { text, heard, state } = entry;
  if (state === "cut") {
    const mark = make("span", "cut", "‖");
    mark.title = t("cut-in");
    const [before, after] = [text.slice(0, heard).trimEnd(), text.slice(heard)];
    return [make("span", "heard", before), mark, make("span", "unheard", after)];
  }
  const parts = [make("span", "heard", text.slice(0, heard)), make("span", "unheard", text.slice(heard))];
  if (state === "failed") parts.push(make("span", "trouble", ` ${trouble("answer-failed", entry)}`));
  return parts;
}

function trouble(name, { error }) {
  return error ? `${t(name)}: ${straight(error)}` : t(name);
}

function fillSources(row, sources, openSource) {
  if (sources.length === 0 || row.dataset.sources === String(sources.length)) return;
  row.dataset.sources = String(sources.length);
  row.querySelector(".sources")?.remove();
  const list = make("ul", "sources");
  list.setAttribute("aria-label", t("sources"));
  for (const source of sources) {
    const button = make("button", "source");
    button.type = "button";
    button.append(make("span", "document", straight(source.source)));
    if (source.heading) button.append(make("span", "heading", straight(source.heading)));
    button.addEventListener("click", () => openSource(source));
    const item = make("li");
    item.append(button);
    list.append(item);
  }
  row.append(list);
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
