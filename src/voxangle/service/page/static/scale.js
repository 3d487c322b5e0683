// A score on a line, with the threshold from which on it is one voice.

import { element } from "./dom.js";
import { number, signed } from "./wording.js";

const STEPS = 4;
const TRAIL = 12; // earlier scores of a stream that stay visible

/** The ends of the line: a log-likelihood ratio's are symmetric, a cosine's hold what is to be shown. */
export function ends(kind, values) {
  if (kind === "score") return Math.min(...values) < 0 ? [-1, 1] : [0, 1];
  const reach = Math.max(10, ...values.map((value) => 5 * Math.ceil((Math.abs(value) + 1) / 5)));
  return [-reach, reach];
}

export class Scale {
  #root = element("div", { class: "scale", role: "img" });
  #trail = [];

  constructor(place) {
    place.append(this.#root);
  }

  /** Forget earlier scores. */
  clear() {
    this.#trail = [];
  }

  /**
   * @param {"log_likelihood_ratio"|"score"} kind
   * @param {number} value
   * @param {number|null} threshold null where nothing decides
   */
  show(kind, value, threshold) {
    const [low, high] = ends(kind, threshold === null ? [value] : [value, threshold]);
    const place = (at) => Math.max(0, Math.min(1, (at - low) / (high - low)));
    const digits = kind === "score" ? 3 : 2;
    const said = kind === "score" ? number : signed;
    const at = (name, share, ...content) => {
      const made = element("span", { class: name }, ...content);
      made.style.setProperty("--at", share);
      return made;
    };
    const ticks = Array.from({ length: STEPS + 1 }, (_, i) => low + (i * (high - low)) / STEPS);
    this.#root.setAttribute("aria-label", describe(kind, value, threshold, low, high));
    this.#root.replaceChildren(
      element(
        "div",
        { class: "scale-line" },
        threshold === null ? null : at("scale-accepted", place(threshold)),
        ...ticks.map((tick) => at("scale-tick", place(tick))),
        ...this.#trail.map((old) => at("scale-trail", place(old))),
        threshold === null ? null : at("scale-threshold", place(threshold)),
        at("scale-mark", place(value)),
        at("scale-value", place(value), said(value, digits)),
      ),
      element("div", { class: "scale-numbers" }, ...ticks.map((tick) => at("", place(tick), number(tick, kind === "score" ? 2 : 0)))),
      element("div", { class: "scale-ends" }, element("span", {}, "different voices"), element("span", {}, "one voice")),
      element(
        "div",
        { class: "scale-legend" },
        key("score", kind === "score" ? "cosine score" : "log-likelihood ratio"),
        threshold === null ? null : key("threshold", "threshold"),
        threshold === null ? null : key("accepted", "accepted"),
        this.#trail.length ? key("trail", "earlier") : null,
      ),
    );
    this.#trail = [...this.#trail, value].slice(-TRAIL);
  }
}

function key(name, text) {
  return element("span", { class: `key-${name}` }, text);
}

function describe(kind, value, threshold, low, high) {
  const name = kind === "score" ? "Cosine score" : "Log-likelihood ratio";
  const where = threshold === null ? "there is no threshold" : `the threshold is ${number(threshold)}`;
  return `${name} ${number(value)} on a scale from ${low} (different voices) to ${high} (one voice); ${where}.`;
}
