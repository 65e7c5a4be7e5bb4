// The lake: the newest published commit, and what the newest audit said.

import { get } from "./api.js";
import { byId, chip, element, fillFacts, showProblem, showState } from "./dom.js";
import { readable } from "./time.js";

/**
 * @typedef {import("./types.js").Commit} Commit
 * @typedef {import("./types.js").Audit} Audit
 */

/** Load and show the newest commit and the newest verdict in the history of `main`. */
export async function refreshLake() {
  const list = byId("lake", HTMLDListElement);
  const panel = list.closest("section");
  try {
    const newest = { ref: "main", limit: 1 };
    const [commits, audits] = await Promise.all([get("/v1/lake/commits", newest), get("/v1/lake/audits", newest)]);
    fillFacts(list, facts(commits.data[0], audits.data[0]));
    if (audits.data.length) showState(panel, "ready");
    else showState(panel, "empty", "No day was published yet.", "tickhouse dags trigger nightly_batch");
    return true;
  } catch (problem) {
    return showProblem(panel, problem);
  }
}

/**
 * @param {Commit | undefined} commit
 * @param {Audit | undefined} audit
 */
function facts(commit, audit) {
  return [
    { name: "Newest commit of main", value: commit ? short(commit.commit) : null },
    { name: "Committed, UTC", value: commit ? readable(commit.created_at) : null },
    { name: "Message", value: commit ? commit.message : null },
    { name: "Newest audit", value: verdict(audit) },
    { name: "Of commit", value: audit ? short(audit.of) : null },
    { name: "Audited, UTC", value: audit ? readable(audit.at) : null },
  ];
}

/** @param {string} id */
function short(id) {
  return element("code", { title: id }, id.slice(0, 12));
}

/** @param {Audit | undefined} audit */
function verdict(audit) {
  if (!audit) return chip("wait", "none");
  const warnings = audit.warnings.length;
  const word = `${audit.ok ? "passed" : "failed"}${warnings ? `, ${warnings} ${warnings === 1 ? "warning" : "warnings"}` : ""}`;
  const state = audit.ok ? (warnings ? "late" : "good") : "bad";
  const shown = chip(state, word);
  return audit.report.startsWith("http") ? element("a", { href: audit.report, rel: "noreferrer" }, shown) : shown;
}
