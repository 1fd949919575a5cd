// The page's words in its two languages.

import { en } from "./words-en.js";
import { ja } from "./words-ja.js";

const WORDS = { en, ja };

export const LANGUAGES = Object.keys(WORDS);

let current = "en";

export function language() {
  return current;
}

/** The browser's first language of ours. */
export function preferredLanguage() {
  const wanted = navigator.languages?.map((tag) => tag.split("-")[0]) ?? [];
  return wanted.find((tag) => LANGUAGES.includes(tag)) ?? "en";
}

/** @param {string} name of the text; `values` fill its {places} */
export function t(name, values = {}) {
  const text = WORDS[current][name] ?? WORDS.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (place, key) => straight(values[key] ?? place));
}

/** Without the characters that would turn round what stands behind it in the same line. */
export function straight(text) {
  return String(text).replace(/[\u202a-\u202e\u2066-\u2069]/g, "");
}

/** Write the texts that stand in the page: data-t="name", data-t-label="name of the aria-label". */
export function speak(tag) {
  current = LANGUAGES.includes(tag) ? tag : "en";
  document.documentElement.lang = current;
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
    if (element.matches("button, summary")) element.title = t(element.dataset.tLabel);
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
}

export const texts = WORDS;
