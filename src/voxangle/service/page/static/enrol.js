// Enrolling: consent, recordings, and what became of them.

import { button, element, present, setError } from "./dom.js";
import { measuresBox, notesBox } from "./findings.js";
import { checkSize } from "./limits.js";
import { asProblem, problemBox } from "./problems.js";
import { Recorder } from "./recorder.js";
import { count, megabytes, seconds } from "./wording.js";

const byId = (id) => document.getElementById(id);

export class Enrol {
  #name = byId("enrol-name");
  #consent = byId("consent-given");
  #send = byId("enrol-send");
  #list = byId("takes");
  #outcome = document.querySelector("#enrol .outcome");
  #takes = [];
  #page;
  #recorder;

  /** @param {object} page what the tasks share, see app.js */
  constructor(page) {
    this.#page = page;
    this.#recorder = new Recorder(document.querySelector("#enrol [data-recorder]"), {
      label: "Record the person, or choose recordings",
      several: true,
      allowed: () => this.#allowed(),
      longest: () => page.model.limits.seconds,
      taken: (takes) => this.#take(takes),
    });
    // Consent is of a person: another name, another question.
    this.#name.addEventListener("change", () => this.#withdraw());
    this.#consent.addEventListener("change", () => this.#consent.checked || this.#withdraw());
    this.#send.addEventListener("click", () => this.#enrol(false));
    this.#show();
  }

  /** Nobody agrees any more: what is being recorded is forgotten. */
  #withdraw() {
    this.#consent.checked = false;
    this.#recorder.cancel();
  }

  #allowed() {
    const named = this.#page.named(this.#name, byId("enrol-name-error"));
    const agreed = this.#consent.checked;
    setError(this.#consent, byId("consent-error"), agreed ? "" : "Ask the person first, and tick this when they agree.");
    if (named && !agreed) this.#consent.focus();
    return named && agreed && this.#page.ready();
  }

  #take(takes) {
    this.#outcome.replaceChildren();
    this.#takes.push(...takes);
    this.#show();
    this.#list.lastElementChild?.scrollIntoView({ block: "nearest" });
  }

  #show() {
    byId("takes-none").hidden = this.#takes.length > 0;
    this.#send.textContent = this.#takes.length ? `Enrol with ${count(this.#takes.length, "recording")}` : "Enrol";
    // What is played stays: only rows that are new or gone change.
    for (const row of [...this.#list.children]) if (!this.#takes.some((take) => take.row === row)) row.remove();
    this.#takes.forEach((take, i) => {
      take.row ??= this.#row(take);
      take.row.querySelector(".take-number").textContent = `Recording ${i + 1}`;
      take.row.querySelector("audio").setAttribute("aria-label", `Play recording ${i + 1}`);
      take.row.querySelector("button").setAttribute("aria-label", `Remove recording ${i + 1}`);
      if (!take.row.isConnected) this.#list.append(take.row);
    });
  }

  #row(take) {
    const source = URL.createObjectURL(take.file);
    const about = take.live ? `${seconds(take.length)}, microphone` : `${take.file.name}, ${megabytes(take.file.size)}`;
    return element(
      "li",
      {},
      element("span", { class: "take-about" }, element("strong", { class: "take-number" }), ` ${about}`),
      element("audio", { controls: true, preload: "metadata", src: source }),
      button("Remove", { class: "quiet" }, () => {
        URL.revokeObjectURL(source);
        this.#takes = this.#takes.filter((one) => one !== take);
        this.#show();
        this.#send.focus();
      }),
    );
  }

  async #enrol(add) {
    if (!this.#allowed()) return;
    const { service, model, history } = this.#page;
    this.#recorder.stop(); // what is still being recorded is of this person, and of nobody after
    const files = this.#takes.map((take) => take.file);
    if (!files.length) {
      const text = "Record the person first, or choose a file.";
      present(this.#outcome, element("p", { class: "problem", role: "alert" }, text));
      return;
    }
    const name = this.#name.value.trim();
    this.#wait(true);
    try {
      checkSize(files, model);
      const done = await service.enrol(name, files, add);
      this.#enrolled(done, add);
      history.add("Enrol", "done", `${name}: ${count(done.voiceprint.recordings, "recording")}`);
    } catch (error) {
      this.#refused(asProblem(error));
      history.add("Enrol", "refused", `${name}: ${asProblem(error).title}`);
    } finally {
      this.#wait(false);
    }
  }

  #wait(is) {
    this.#send.disabled = is;
    this.#recorder.busy = is;
    if (is) present(this.#outcome, element("p", { class: "hint" }, "Listening to the recordings …"));
  }

  #enrolled({ voiceprint, recordings, notes }, add) {
    const { name } = voiceprint;
    const speech = recordings.reduce((sum, heard) => sum + heard.speech, 0);
    const all = add ? `; ${count(voiceprint.recordings, "recording")} in all` : "";
    this.#takes = [];
    this.#show();
    this.#name.value = "";
    this.#withdraw();
    present(
      this.#outcome,
      element(
        "div",
        { class: "verdict", "data-kind": "done" },
        element("p", { class: "answer" }, add ? `Added to the voiceprint of ${name}` : `${name} is enrolled`),
        element("p", {}, `${count(recordings.length, "recording")}, ${seconds(speech)} of speech${all}.`),
        ...[notesBox("What could be better", notes), measuresBox(recordings)].filter(Boolean),
        element("p", {}, button(`Verify the voice of ${name}`, {}, () => this.#page.verify(name))),
      ),
    );
    this.#page.changed();
  }

  #refused(problem) {
    const row = problem.recording === null ? null : this.#takes[problem.recording - 1]?.row;
    for (const take of this.#takes) take.row.classList.toggle("refused", take.row === row);
    const cures =
      problem.code === "name-taken"
        ? [element("p", {}, button("Add these recordings to the voiceprint", {}, () => this.#enrol(true)))]
        : [];
    present(this.#outcome, problemBox(problem, ...cures));
    this.#page.refused(problem);
  }
}
