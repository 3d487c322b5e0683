// What was refused, in the service's own words.

import { element } from "./dom.js";

/** @param {import("./service.js").Problem} problem @param {...Node} cures things to do about it */
export function problemBox(problem, ...cures) {
  const about = problem.recording === null ? "" : ` (recording ${problem.recording})`;
  return element(
    "div",
    { class: "problem", role: "alert" },
    element("h3", {}, `${problem.title}${about}`),
    element("p", {}, problem.detail),
    problem.cure ? element("p", {}, problem.cure) : null,
    ...cures,
    element("p", { class: "side" }, problem.request ? `${problem.code}, request ${problem.request}` : problem.code),
  );
}

/** A mistake of this page's own is no answer of the service. */
export function asProblem(error) {
  if (error.code && error.title) return error;
  return { title: "The page made a mistake", code: "page", detail: String(error), cure: "Reload it.", request: "", recording: null };
}
