// Messages that say what to do; each at most once, gone when its cause is.
import { t } from "./i18n.js";

const PASSING_MS = 12_000;

export class Notices {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.shown = new Map(); // code -> {element, values}
  }

  /**
   * @param {string} code the text's name
   * @param {object} values of its places
   * @param {{action?: [string, () => void], aside?: string, passes?: boolean,
   *     tone?: "trouble" | "warning"}} options aside: changes too often to be read out
   */
  show(code, values = {}, { action, aside = "", passes = false, tone = "trouble" } = {}) {
    const known = this.shown.get(code);
    const element = known?.element ?? this.create(code, tone, action);
    const text = element.querySelector(".text");
    const words = t(code, values);
    if (text.textContent !== words) text.textContent = words;
    element.querySelector(".aside").textContent = aside;
    clearTimeout(known?.timer);
    const timer = passes ? setTimeout(() => this.hide(code), PASSING_MS) : null;
    this.shown.set(code, { element, values, timer });
  }

  hide(code) {
    this.shown.get(code)?.element.remove();
    this.shown.delete(code);
  }

  hideAll(codes) {
    for (const code of codes) this.hide(code);
  }

  /** In the language of now; `speak` has done the buttons. */
  translate() {
    for (const [code, { element, values }] of this.shown) {
      element.querySelector(".text").textContent = t(code, values);
    }
  }

  create(code, tone, action) {
    const element = document.createElement("div");
    element.className = `notice ${tone}`;
    element.dataset.code = code;
    const text = document.createElement("p");
    text.className = "text";
    const aside = document.createElement("span");
    aside.className = "aside";
    aside.setAttribute("aria-hidden", "true");
    element.append(text, aside);
    if (action) element.append(button(...action));
    element.append(dismissal(() => this.hide(code)));
    this.place.append(element);
    return element;
  }
}

function button(name, act) {
  const element = document.createElement("button");
  element.type = "button";
  element.dataset.t = name;
  element.textContent = t(name);
  element.addEventListener("click", act);
  return element;
}

function dismissal(act) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "dismiss";
  element.dataset.tLabel = "dismiss";
  element.setAttribute("aria-label", t("dismiss"));
  element.textContent = "×";
  element.addEventListener("click", act);
  return element;
}
