// Verifying a claim: by microphone with a score that grows, or by a file.

import { element } from "./dom.js";
import { checkSize } from "./limits.js";
import { LiveVerification } from "./live.js";
import { asProblem, problemBox } from "./problems.js";
import { Recorder } from "./recorder.js";
import { LEFT } from "./routing.js";
import { RuleForm } from "./rule.js";
import { answerOf, VerdictView } from "./verdict.js";
import { percent } from "./wording.js";

export class Verify {
  #name = document.getElementById("verify-name");
  #outcome = document.querySelector("#verify .outcome");
  #problem = element("div");
  #view;
  #rule;
  #recorder;
  #page;
  #live = null;
  #asked = null; // the claimed name and the rule of what is being answered, whatever is typed meanwhile

  /** @param {object} page what the tasks share, see app.js */
  constructor(page) {
    this.#page = page;
    this.#recorder = new Recorder(document.querySelector("#verify [data-recorder]"), {
      label: "Record the voice, or choose a recording",
      several: false,
      allowed: () => this.#allowed(),
      longest: () => page.model.limits.seconds,
      begun: (rate) => this.#begin(rate),
      heard: (block) => this.#live?.send(block),
      dropped: () => this.#leave(),
      taken: ([take]) => this.#finish(take),
    });
    this.#rule = new RuleForm(document.querySelector("#verify [data-rule]"), "Prior of one voice");
    this.#outcome.append(this.#problem);
    this.#view = new VerdictView(this.#outcome);
    window.addEventListener(LEFT, () => this.#leave());
  }

  /** Whom the next voice claims to be. */
  claim(name) {
    this.#name.value = name;
  }

  /** Take over what the model offers. */
  offer(model) {
    this.#rule.offer(model);
  }

  #allowed() {
    const named = this.#page.named(this.#name, document.getElementById("verify-name-error"));
    return named && this.#rule.read() !== null && this.#page.ready();
  }

  #begin(rate) {
    if (!this.#allowed()) {
      this.#recorder.cancel(); // something was changed while the microphone was awaited
      return;
    }
    this.#ask();
    this.#clear();
    this.#view.wait("Speak: the first score needs about a second of speech.");
    const opening = { name: this.#asked.name, sample_rate: rate, ...this.#asked.rule };
    this.#live = new LiveVerification(
      this.#page.service,
      opening,
      (update) => (update.verdict ? this.#view.grow(update) : this.#view.wait(update.waiting_for)),
      (problem) => {
        this.#leave();
        this.#recorder.cancel();
        this.#refused(problem);
      },
    );
  }

  #ask() {
    this.#asked = { name: this.#name.value.trim(), rule: this.#rule.read() };
  }

  async #finish(take) {
    const live = this.#live;
    this.#live = null;
    this.#recorder.busy = true;
    if (!live) {
      this.#ask();
      this.#clear();
      this.#view.wait("Comparing the voices …");
    }
    try {
      const streamed = live && (await live.end());
      if (live && this.#problem.hasChildNodes()) return; // the stream told why there is no answer
      // Where sockets do not get through, the recording itself does.
      const verdict = streamed?.verdict ?? (await this.#send(take));
      this.#view.end(verdict, this.#page.model);
      const [kind] = answerOf(verdict);
      const answer = { same: "accepted", other: "rejected", undecided: "no decision" }[kind];
      const sure = verdict.probability === null ? "" : `, probability ${percent(verdict.probability)}`;
      this.#page.history.add("Verify", kind, `${verdict.name}: ${answer}${sure}`);
    } catch (error) {
      this.#refused(asProblem(error));
    } finally {
      this.#recorder.busy = false;
    }
  }

  #send(take) {
    checkSize([take.file], this.#page.model);
    return this.#page.service.verify(this.#asked.name, take.file, this.#asked.rule);
  }

  #refused(problem) {
    this.#view.hide();
    this.#problem.replaceChildren(problemBox(problem));
    this.#page.history.add("Verify", "refused", `${this.#asked.name}: ${problem.title}`);
    this.#page.refused(problem);
  }

  #clear() {
    this.#problem.replaceChildren();
    this.#view.hide();
  }

  #leave() {
    if (this.#live) this.#view.hide();
    this.#live?.leave();
    this.#live = null;
  }
}
