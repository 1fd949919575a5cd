// A source, opened: the passage within the whole document.
import { unitsAt } from "./alignment.js";
import { straight, t } from "./i18n.js";

/** [before, passage, after] of a document; offsets are code points, as the server counts. */
export function split(text, start, end) {
  const from = unitsAt(text, start);
  const to = unitsAt(text, end);
  return [text.slice(0, from), text.slice(from, to), text.slice(to)];
}

/** In the server's words, where it has any. */
async function refusal(answer) {
  const body = await answer.json().catch(() => null);
  return body?.error?.message ?? `HTTP ${answer.status}`;
}

export class SourceDialog {
  /**
   * @param {HTMLDialogElement} dialog
   * @param {() => HeadersInit} headers for requests to the server
   */
  constructor(dialog, headers) {
    this.dialog = dialog;
    this.headers = headers;
    this.title = dialog.querySelector(".title");
    this.path = dialog.querySelector(".path");
    this.text = dialog.querySelector(".document-text");
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", ({ target }) => {
      if (target === dialog) dialog.close(); // the backdrop
    });
  }

  async open(source) {
    this.current = source;
    this.title.textContent = source.title || source.source;
    this.path.textContent = [source.source, source.heading].filter(Boolean).map(straight).join(" › ");
    this.text.textContent = t("source-loading");
    this.dialog.showModal();
    const path = source.source.split("/").map(encodeURIComponent).join("/");
    try {
      const answer = await fetch(`api/sources/${path}`, { headers: this.headers() });
      if (!answer.ok) throw new Error(await refusal(answer));
      const text = await answer.text();
      if (this.current === source) this.show(text, source);
    } catch (error) {
      if (this.current === source) this.fail(error, source);
    }
  }

  show(text, { start, end }) {
    const [before, passage, after] = split(text, start, end);
    const mark = document.createElement("mark");
    mark.textContent = passage;
    this.text.replaceChildren(before, mark, after);
    mark.scrollIntoView({ block: "center" });
  }

  /** The passage itself came with the answer. */
  fail(error, source) {
    const note = document.createElement("p");
    note.className = "trouble";
    note.textContent = t("source-failed", { detail: error.message });
    const mark = document.createElement("mark");
    mark.textContent = source.text;
    this.text.replaceChildren(note, mark);
  }
}
