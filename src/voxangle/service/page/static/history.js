// What was asked and answered in this visit: in memory, and nowhere else.

import { element } from "./dom.js";

const MOST = 50;

export class History {
  #list = document.getElementById("history");
  #clear = document.getElementById("history-clear");

  constructor() {
    this.#clear.addEventListener("click", () => {
      this.#list.replaceChildren();
      this.#clear.hidden = true;
      document.getElementById("history-title").scrollIntoView({ block: "nearest" });
    });
  }

  /**
   * @param {string} task such as "Verify"
   * @param {"same"|"other"|"undecided"|"refused"|"done"} kind of the answer
   * @param {string} answer
   */
  add(task, kind, answer) {
    const now = new Date();
    this.#list.prepend(
      element(
        "li",
        { "data-kind": kind },
        element("time", { datetime: now.toISOString() }, now.toLocaleTimeString("en-GB")),
        element("span", { class: "history-task" }, task),
        element("span", {}, answer),
      ),
    );
    while (this.#list.children.length > MOST) this.#list.lastChild.remove();
    this.#clear.hidden = false;
  }
}
