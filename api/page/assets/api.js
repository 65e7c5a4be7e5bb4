// Requests to the read API of the same server.

/** An answer that is no success, or none at all: what happened and which command helps. */
export class Problem extends Error {
  /**
   * @param {string} title
   * @param {string} detail
   * @param {string} next
   * @param {number} status HTTP status; 0 when the server did not answer.
   */
  constructor(title, detail, next, status = 0) {
    super(title);
    this.title = title;
    this.detail = detail;
    this.next = next;
    this.status = status;
  }
}

const TIMEOUT_MS = 20_000; // the API answers within a second; a store that is down takes its time to say so

/**
 * Return the JSON of a path.
 *
 * @param {string} path
 * @param {Record<string, string | number | undefined>} [parameters] Undefined ones are left out.
 * @returns {Promise<any>}
 * @throws {Problem}
 */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  const response = await answered(`${path}${query.size ? `?${query}` : ""}`, {
    headers: { Accept: "application/json" },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return response.json();
}

/**
 * Return a successful response.
 *
 * @param {string} address
 * @param {RequestInit} options
 * @throws {Problem}
 */
export async function answered(address, options) {
  let response;
  try {
    response = await fetch(address, { ...options, credentials: "same-origin", cache: "no-store" });
    if (response.status === 401) {
      await fetch("/", { cache: "no-store" }); // the page left open overnight: this begins a new session
      response = await fetch(address, { ...options, credentials: "same-origin", cache: "no-store" });
    }
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error; // we ended it ourselves
    throw new Problem("The server does not answer", "", "tickhouse up --service api");
  }
  if (response.ok) return response;
  throw await problemOf(response);
}

/** @param {Response} response */
async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  if (response.status === 401 || response.status === 403) {
    return new Problem(body.title ?? "The session has ended", body.detail ?? "", "reload this page", response.status);
  }
  const title = body.title ?? `The server answered with status ${response.status}`;
  return new Problem(title, body.detail ?? "", body.next ?? "tickhouse doctor", response.status);
}
