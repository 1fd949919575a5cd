// What the server says about itself, asked every few seconds while the page is looked at.

const EVERY_MS = 5000;
const EVERY_MS_WHEN_GONE = 2000; // whoever waits for it should not wait much longer than it takes
const LIMIT_MS = 4000;

/**
 * Events: "change" after every look: `ready` and `performance`, null where there was no answer.
 * What was refused for want of a key is not asked for again before there is another one.
 */
export class Status extends EventTarget {
  /** @param {() => HeadersInit} headers */
  constructor(headers) {
    super();
    this.headers = headers;
    this.ready = null;
    this.performance = null;
    this.isReachable = null;
    this.takesCalls = false;
    this.refusedKey = null;
  }

  watch() {
    const look = async () => {
      clearTimeout(this.timer);
      if (document.hidden) return;
      await this.look();
      clearTimeout(this.timer);
      this.timer = setTimeout(look, this.isReachable ? EVERY_MS : EVERY_MS_WHEN_GONE);
    };
    document.addEventListener("visibilitychange", look);
    look();
  }

  async look() {
    [this.ready, this.performance] = await Promise.all([this.askReady(), this.askPerformance()]);
    this.dispatchEvent(new Event("change"));
  }

  /** One that is not ready answers 503, and says why in the same form. */
  async askReady() {
    try {
      const answer = await this.ask("ready");
      this.isReachable = true;
      this.takesCalls = answer.ok;
      return await answer.json();
    } catch (error) {
      this.isReachable = error instanceof SyntaxError;
      this.takesCalls = false;
      return null;
    }
  }

  async askPerformance() {
    const key = this.headers().Authorization ?? "";
    if (key === this.refusedKey) return null;
    try {
      const answer = await this.ask("api/performance");
      this.refusedKey = answer.status === 401 ? key : null;
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  ask(path) {
    const signal = AbortSignal.timeout(LIMIT_MS);
    return fetch(path, { headers: this.headers(), signal, cache: "no-store" });
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
