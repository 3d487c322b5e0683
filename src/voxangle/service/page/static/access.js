// The API key, where the service wants one.

const WANTED = new Set(["no-key", "unknown-key"]);

export class Access {
  #form = document.getElementById("access");
  #key = document.getElementById("access-key");

  /** @param {import("./service.js").Service} service @param {() => void} onKey is called when a key was given */
  constructor(service, onKey) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      service.use(this.#key.value.trim(), document.getElementById("access-keep").checked);
      this.#key.value = "";
      onKey();
    });
  }

  hide() {
    this.#form.hidden = true;
  }

  /** Ask for a key where a problem is that there is none. @returns {boolean} whether it is */
  wants(problem) {
    if (!WANTED.has(problem.code)) return false;
    document.getElementById("access-why").textContent = problem.detail;
    this.#form.hidden = false;
    this.#key.focus();
    return true;
  }
}
