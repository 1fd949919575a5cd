// Who does the work: one chip a provider; mocks, fallbacks and failures marked as such.
import { t } from "./i18n.js";

/** @param {HTMLUListElement} list */
export function showProviders(list, providers) {
  list.replaceChildren(...providers.map(chip));
}

function chip({ slot, name, endpoint, isMock, fallbacks, problem }) {
  const item = document.createElement("li");
  item.title = [`${slot}: ${name} (${endpoint})`, problem].filter(Boolean).join("\n");
  item.append(part("slot", slot), part("name", name));
  if (isMock) item.append(part("mark", t("mock")));
  if (fallbacks > 0) item.append(part("mark", t("fallback", { n: fallbacks })));
  if (problem) item.append(part("mark down", t("down")));
  return item;
}

function part(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}
