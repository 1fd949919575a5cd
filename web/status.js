// What the server says about itself, asked every few seconds while the page is looked at.

const EVERY_MS = 5000;
const LIMIT_MS = 4000;

/** Events: "change" after every look: `ready` and `performance`, null where there was no answer. */
export class Status extends EventTarget {
  /** @param {() => HeadersInit} headers */
  constructor(headers) {
    super();
    this.headers = headers;
    this.ready = null;
    this.performance = null;
    this.isReachable = null;
  }

  watch() {
    const look = async () => {
      clearTimeout(this.timer);
      if (document.hidden) return;
      await this.look();
      clearTimeout(this.timer);
      this.timer = setTimeout(look, EVERY_MS);
    };
    document.addEventListener("visibilitychange", look);
    look();
  }

  async look() {
    [this.ready, this.performance] = await Promise.all([
      this.get("ready"),
      this.get("api/performance"),
    ]);
    this.dispatchEvent(new Event("change"));
  }

  async get(path) {
    try {
      const signal = AbortSignal.timeout(LIMIT_MS);
      const answer = await fetch(path, { headers: this.headers(), signal, cache: "no-store" });
      if (path === "ready") this.isReachable = true;
      // A server that is not ready answers 503, and says why in the same form.
      return await answer.json();
    } catch (error) {
      if (path === "ready") this.isReachable = error instanceof SyntaxError;
      return null;
    }
  }
}

/** @returns {{slot: string, name: string, endpoint: string, isMock: boolean, fallbacks: number, problem: string}[]} */
export function providers(ready) {
  return Object.entries(ready?.providers ?? {}).map(([slot, state]) => ({
    slot,
    name: state.provider ?? "",
    endpoint: state.endpoint ?? "",
    isMock: Boolean(state.is_mock),
    fallbacks: state.fallback_count ?? 0,
    problem: state.healthy === false ? state.problem || "?" : "",
  }));
}
