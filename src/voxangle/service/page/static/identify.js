// Identifying: one voice against all that are enrolled.

import { button, element, present } from "./dom.js";
import { answerOf, identifiedBox } from "./identified.js";
import { checkSize } from "./limits.js";
import { asProblem, problemBox } from "./problems.js";
import { Recorder } from "./recorder.js";
import { RuleForm } from "./rule.js";

export class Identify {
  #outcome = document.querySelector("#identify .outcome");
  #page;
  #recorder;
  #rule;

  /** @param {object} page what the tasks share, see app.js */
  constructor(page) {
    this.#page = page;
    this.#recorder = new Recorder(document.querySelector("#identify [data-recorder]"), {
      label: "Record the voice, or choose a recording",
      several: false,
      allowed: () => this.#rule.read() !== null && page.ready(),
      longest: () => page.model.limits.seconds,
      begun: () => this.#outcome.replaceChildren(),
      taken: ([take]) => this.#identify(take),
    });
    this.#rule = new RuleForm(document.querySelector("#identify [data-rule]"), "Prior of somebody enrolled");
  }

  /** Take over what the model offers. */
  offer(model) {
    this.#rule.offer(model);
  }

  async #identify(take) {
    const { service, model, history } = this.#page;
    const rule = this.#rule.read();
    if (rule === null) {
      this.#postpone(take);
      return;
    }
    this.#recorder.busy = true;
    present(this.#outcome, element("p", { class: "hint" }, "Comparing the voice with all that are enrolled …"));
    try {
      checkSize([take.file], model);
      const found = await service.identify(take.file, rule);
      present(this.#outcome, identifiedBox(found, model));
      history.add("Identify", ...answerOf(found));
    } catch (error) {
      const problem = asProblem(error);
      present(this.#outcome, problemBox(problem));
      history.add("Identify", "refused", problem.title);
      this.#page.refused(problem);
    } finally {
      this.#recorder.busy = false;
    }
  }

  /** The rule was changed for the worse while somebody spoke: keep what they said until it holds. */
  #postpone(take) {
    const text = "Nothing was compared yet: what the decision assumes does not hold.";
    const again = button("Compare this recording", {}, () => this.#identify(take));
    this.#outcome.replaceChildren(
      element("div", { class: "problem", role: "alert" }, element("p", {}, text), element("p", {}, again)),
    );
  }
}
