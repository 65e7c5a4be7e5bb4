// The live stream: server-sent events, read with fetch.
//
// EventSource would do most of this. But it cannot carry `Last-Event-ID` over a change of the
// subscription or a refused request, it does not say why it failed, and it waits forever on a
// connection that is silently dead.

import { Problem, answered } from "./api.js";

/** @typedef {{name: string, data: string, id: string}} ServerEvent */

// The server sends a comment every 10 s; a connection with nothing for this long is dead.
const SILENT_MS = 25_000;
const BACKOFF_MS = [250, 500, 1_000, 2_000, 5_000];

/**
 * Return a function that takes pieces of a stream and gives each complete event to `emit`
 * (HTML standard, 9.2.6). Lines may end with CR, LF or both, and pieces may be cut anywhere.
 *
 * @param {(event: ServerEvent) => void} emit
 * @returns {(piece: string) => void}
 */
export function eventParser(emit) {
  let rest = "";
  let [name, id] = ["", ""];
  /** @type {string[]} */
  let data = [];
  const line = (/** @type {string} */ text) => {
    if (text === "") {
      if (data.length) emit({ name: name || "message", data: data.join("\n"), id });
      [name, data] = ["", []];
      return;
    }
    const colon = text.indexOf(":");
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? "" : text.slice(colon + 1).replace(/^ /, "");
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
    else if (field === "id" && !value.includes("\0")) id = value;
  };
  return (piece) => {
    rest += piece;
    // A CR at the end may be the first half of CR LF: it waits for the next piece.
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    lines.forEach(line);
  };
}

/** One subscription. It reconnects until it is stopped, and goes on after the last event that it saw. */
export class LiveStream {
  /**
   * @param {string} address Path and query.
   * @param {(event: ServerEvent) => void} onEvent
   * @param {(state: import("./types.js").StreamState) => void} onState
   * @param {string} lastId Resume after this event; "" starts with the newest.
   */
  constructor(address, onEvent, onState, lastId = "") {
    this.address = address;
    this.onEvent = onEvent;
    this.onState = onState;
    this.lastId = lastId;
    this.stopper = new AbortController();
    /** @type {number | null} */
    this.lostAt = null;
  }

  /** Connect, and connect again after each failure. Returns when `stop` was called. */
  async run() {
    this.onState({ kind: "connecting" });
    for (let failures = 0; !this.stopper.signal.aborted; failures += 1) {
      try {
        await this.#readOnce(() => { failures = -1; });
        this.#lost("the server closed the connection");
      } catch (error) {
        if (this.stopper.signal.aborted) return;
        this.#lost(reasonOf(error));
      }
      await this.#pause(BACKOFF_MS[Math.min(Math.max(failures, 0), BACKOFF_MS.length - 1)]);
    }
  }

  /** End the subscription. */
  stop() {
    this.stopper.abort();
  }

  /** @param {() => void} onOpen */
  async #readOnce(onOpen) {
    const silence = new AbortController();
    let alarm = setTimeout(() => silence.abort(), SILENT_MS);
    const signal = AbortSignal.any([this.stopper.signal, silence.signal]);
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream" };
    if (this.lastId) headers["Last-Event-ID"] = this.lastId;
    try {
      const response = await answered(this.address, { headers, signal });
      if (!response.body) throw new Problem("The stream has no body", "", "reload this page");
      onOpen();
      this.lostAt = null;
      this.onState({ kind: "live", since: Date.now() });
      const parse = eventParser((event) => this.#take(event));
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let read = await pieces.read(); !read.done; read = await pieces.read()) {
        clearTimeout(alarm);
        alarm = setTimeout(() => silence.abort(), SILENT_MS);
        parse(read.value);
      }
    } finally {
      clearTimeout(alarm);
    }
  }

  /** @param {ServerEvent} event */
  #take(event) {
    if (this.stopper.signal.aborted) return;
    if (event.id) this.lastId = event.id;
    this.onEvent(event);
  }

  /** @param {string} reason */
  #lost(reason) {
    this.lostAt ??= Date.now();
    this.onState({ kind: "reconnecting", since: this.lostAt, reason });
  }

  /** @param {number} longest */
  #pause(longest) {
    // Half of it at random: clients that lost the same server do not come back at the same moment.
    const wait = longest / 2 + (Math.random() * longest) / 2;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.stopper.signal.addEventListener("abort", () => { clearTimeout(timer); resolve(undefined); }, { once: true });
    });
  }
}

/** @param {unknown} error */
function reasonOf(error) {
  if (error instanceof Problem) return [error.title, error.detail].filter(Boolean).join(": ");
  if (error instanceof DOMException && error.name === "AbortError") return `nothing came for ${SILENT_MS / 1000} s`;
  return "the connection was lost";
}
