// What a decision is to be best for: prior, costs, or a threshold of the model's card.

import { element, fromTemplate } from "./dom.js";
import { number } from "./wording.js";

export class RuleForm {
  #root = fromTemplate("rule-template");

  /** @param {Element} place @param {string} prior what the prior is of */
  constructor(place, prior) {
    this.#find(".rule-prior-label").textContent = prior;
    place.replaceWith(this.#root);
  }

  /** Offer the model's thresholds. */
  offer(model) {
    const first = model.calibration === null ? "what the model offers" : "Bayes’ rule (prior and costs)";
    this.#find("select").replaceChildren(
      element("option", { value: "" }, first),
      ...model.thresholds.map((one) => element("option", { value: one.name }, `${one.name}: cosine from ${number(one.value, 3)}`)),
    );
  }

  /** The fields of a request; null where one does not hold, which is then said. */
  read() {
    const line = this.#find(".error");
    const inputs = [...this.#root.querySelectorAll("input")];
    const wrong = inputs.find((input) => !input.value || !input.checkValidity());
    for (const input of inputs) input.toggleAttribute("aria-invalid", false);
    line.hidden = !wrong;
    if (wrong) {
      this.#root.open = true;
      wrong.setAttribute("aria-invalid", "true");
      line.textContent = wrong.validationMessage || "A number is needed.";
      wrong.focus();
      return null;
    }
    const threshold = this.#find("select").value;
    return {
      prior: Number(this.#find(".rule-prior").value) / 100,
      c_fa: Number(this.#find(".rule-fa").value),
      c_miss: Number(this.#find(".rule-miss").value),
      ...(threshold && { threshold }),
    };
  }

  #find(selector) {
    return this.#root.querySelector(selector);
  }
}
