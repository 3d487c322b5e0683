// Who is enrolled, and forgetting them.

import { button, element, present } from "./dom.js";
import { asProblem, problemBox } from "./problems.js";
import { count, moment } from "./wording.js";

const byId = (id) => document.getElementById(id);

export class Voiceprints {
  #place = byId("prints");
  #outcome = document.querySelector("#voiceprints .outcome");
  #dialog = byId("deletion");
  #page;
  #asked = null;

  /** @param {object} page what the tasks share, see app.js */
  constructor(page) {
    this.#page = page;
    byId("deletion-no").addEventListener("click", () => this.#dialog.close());
    byId("deletion-yes").addEventListener("click", () => {
      this.#dialog.close();
      this.#forget(this.#asked);
    });
  }

  /** Read the list again. */
  async load() {
    try {
      const { voiceprints, after } = await this.#page.service.voiceprints(null);
      this.#show(voiceprints, after);
    } catch (error) {
      const problem = asProblem(error);
      this.#place.replaceChildren(problemBox(problem));
      this.#page.refused(problem);
      // Who may not list may still be allowed to delete.
      if (problem.code === "out-of-scope") this.#place.append(this.#byName());
    }
  }

  #show(voiceprints, after) {
    byId("names").replaceChildren();
    if (!voiceprints.length) {
      const first = element("a", { href: "#enrol" }, "Enrol the first.");
      this.#place.replaceChildren(element("p", { class: "hint" }, "Nobody is enrolled. ", first));
      return;
    }
    const list = element("ul", { class: "prints", "aria-label": "Voiceprints" });
    this.#place.replaceChildren(list);
    this.#append(list, voiceprints, after);
  }

  #append(list, voiceprints, after) {
    list.append(...voiceprints.map((one) => this.#row(one)));
    byId("names").append(...voiceprints.map((one) => element("option", { value: one.name })));
    if (after === null) return;
    const more = button("Show more", {}, async () => {
      more.disabled = true;
      try {
        const next = await this.#page.service.voiceprints(after);
        more.remove();
        this.#append(list, next.voiceprints, next.after);
      } catch (error) {
        more.disabled = false;
        present(this.#outcome, problemBox(asProblem(error)));
      }
    });
    this.#place.append(more);
  }

  #row(one) {
    const about = `${count(one.recordings, "recording")}; enrolled ${moment(one.created)}`;
    const added = one.updated === one.created ? "" : `, added to ${moment(one.updated)}`;
    return element(
      "li",
      {},
      element("div", {}, element("strong", {}, one.name), element("p", { class: "hint" }, about + added)),
      element(
        "div",
        { class: "row" },
        button("Verify", { class: "quiet", "aria-label": `Verify ${one.name}` }, () => this.#page.verify(one.name)),
        button("Delete", { class: "quiet danger", "aria-label": `Delete ${one.name}` }, () => this.#ask(one.name)),
      ),
    );
  }

  #byName() {
    const input = element("input", { id: "forget-name", autocomplete: "off", maxlength: "200" });
    const send = button("Delete", { class: "danger" }, () => input.value.trim() && this.#ask(input.value.trim()));
    return element("div", {}, element("label", { for: "forget-name" }, "Delete by name"), element("div", { class: "row" }, input, send));
  }

  #ask(name) {
    this.#asked = name;
    byId("deletion-text").textContent = `${name}: the vectors, measures and checksums are removed from the store and its journal, and cannot be brought back.`;
    this.#dialog.showModal();
  }

  async #forget(name) {
    try {
      await this.#page.service.forget(name);
      await this.load();
      present(
        this.#outcome,
        element("div", { class: "verdict", "data-kind": "done" }, element("p", { class: "answer" }, `${name} is deleted`)),
      );
      this.#page.history.add("Delete", "done", name);
    } catch (error) {
      const problem = asProblem(error);
      present(this.#outcome, problemBox(problem));
      this.#page.history.add("Delete", "refused", `${name}: ${problem.title}`);
      this.#page.refused(problem);
    }
    byId("voiceprints-title").focus(); // the button that was pressed may be gone
  }
}
