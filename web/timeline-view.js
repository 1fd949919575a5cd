// The last turns' waterfall and the three figures.
import { t } from "./i18n.js";
import { FIGURES, figures, waterfall } from "./timeline.js";

const MOST_ROWS = 12;
// The narrowest track of all layouts, and its letters; what does not fit there is left out.
const TRACK_PX = 260;
const LETTER_PX = 6.5;
const PADDING_PX = 13;
const QUIET = new Set(["completed"]);

/** @param {HTMLOListElement} list */
export function showWaterfall(list, legend, turns) {
  const { rows } = waterfall(turns, MOST_ROWS);
  list.replaceChildren(...rows.map(row));
  const names = new Set(rows.flatMap(({ bars }) => bars.map(({ name }) => name)));
  legend.replaceChildren(...[...names].map(key));
  legend.hidden = names.size === 0;
}

function row({ turn, outcome, cutInMs, totalMs, bars }) {
  const item = make("li", "turn");
  item.dataset.outcome = outcome;
  const spoken = bars.map(({ name, ms }) => `${t(`span-${name}`)} ${Math.round(ms)} ms`);
  item.setAttribute("aria-label", [t("turn", { turn }), outcomeText(outcome, cutInMs), ...spoken].join(", "));
  const track = make("div", "track");
  track.append(...bars.map(bar));
  item.append(make("span", "number", String(turn)), track);
  if (bars.length > 0) item.append(make("span", "total", `${Math.round(totalMs)}`));
  if (!QUIET.has(outcome)) item.append(make("span", "outcome", outcomeText(outcome, cutInMs)));
  return item;
}

function bar({ name, ms, left, width }) {
  const element = make("span", `bar span-${name}`);
  element.style.left = `${left * 100}%`;
  element.style.width = `${width * 100}%`;
  element.title = `${t(`span-${name}`)}: ${ms.toFixed(1)} ms`;
  const labels = [`${t(`span-${name}`)} ${Math.round(ms)}`, String(Math.round(ms))];
  const fits = (label) => widthPx(label) <= width * TRACK_PX;
  element.textContent = labels.find(fits) ?? "";
  return element;
}

function widthPx(label) {
  const letters = [...label].reduce((sum, letter) => sum + (letter > "\u2e80" ? 2 : 1), 0);
  return PADDING_PX + letters * LETTER_PX;
}

function outcomeText(outcome, cutInMs) {
  if (cutInMs !== null) return t("cut-at", { s: (cutInMs / 1000).toFixed(1) });
  return outcome === "completed" ? "" : t(`outcome-${outcome}`);
}

function key(name) {
  const item = make("li", "key", t(`span-${name}`));
  item.prepend(make("i", `swatch span-${name}`));
  return item;
}

/**
 * @param {HTMLTableSectionElement} body
 * @param {object[]} turns this page's own
 * @param {Record<string, object>} server the figures of /api/performance
 */
export function showFigures(body, turns, server) {
  const own = figures(turns);
  body.replaceChildren(...FIGURES.map((name) => figureRow(name, own[name], server?.[name])));
}

function figureRow(name, own, server) {
  const line = make("tr");
  const head = make("th", "", t(`figure-${name}`));
  head.scope = "row";
  head.title = t(`figure-${name}-help`);
  line.append(head);
  for (const percent of ["p50", "p95", "p99"]) {
    const cell = make("td");
    cell.append(make("span", "own", number(own[percent])), make("span", "server", number(server?.[percent])));
    line.append(cell);
  }
  return line;
}

function number(ms) {
  return Number.isFinite(ms) ? String(Math.round(ms)) : "–";
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}
