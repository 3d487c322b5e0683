// The service's routes, relative to where the page lies, so that it works below a path of a proxy too.

const REMEMBERED = "voxangle-key";

/** What the service refused, in its own words. */
export class Problem extends Error {
  /** @param {{code: string, title: string, detail: string, cure: string, request?: string, recording?: number}} body */
  constructor(body) {
    super(body.detail);
    Object.assign(this, { request: "", recording: null }, body);
  }
}

const UNREACHABLE = {
  code: "unreachable",
  title: "The service does not answer",
  detail: "No connection to it could be made.",
  cure: "See whether it still runs, and try again.",
};

const UNSENDABLE = {
  code: "unknown-key",
  title: "The API key is not valid",
  detail: "The API key has characters that no key of this service has.",
  cure: "Paste the key as it was given.",
};

export class Service {
  #key = sessionStorage.getItem(REMEMBERED) ?? "";

  /** The API key; empty where none is used. */
  get key() {
    return this.#key;
  }

  /** Use a key; until the tab is closed, or until the page is left. */
  use(key, keep) {
    this.#key = key;
    if (keep) sessionStorage.setItem(REMEMBERED, key);
    else sessionStorage.removeItem(REMEMBERED);
  }

  model() {
    return this.#ask("GET", "model");
  }

  /** @param {File[]} recordings */
  enrol(name, recordings, add) {
    const form = new FormData();
    for (const recording of recordings) form.append("recordings", recording);
    form.append("name", name);
    if (add) form.append("add", "true");
    return this.#ask("POST", "enrol", {}, form);
  }

  verify(name, recording, rule) {
    return this.#ask("POST", "verify", {}, filled({ recording, name, ...rule }));
  }

  identify(recording, rule) {
    return this.#ask("POST", "identify", {}, filled({ recording, ...rule }));
  }

  voiceprints(after) {
    return this.#ask("GET", "voiceprints", after === null ? {} : { after });
  }

  forget(name) {
    return this.#ask("DELETE", "voiceprint", { name });
  }

  /** A socket for verification while somebody speaks; its first message has to bring the key. */
  stream() {
    const address = this.#address("stream", {});
    address.protocol = address.protocol.replace("http", "ws");
    return new WebSocket(address);
  }

  #address(route, query) {
    const address = new URL(`v1/${route}`, new URL(".", location.href));
    address.search = new URLSearchParams(query).toString();
    return address;
  }

  async #ask(method, route, query = {}, body = undefined) {
    if (/[^!-~]/.test(this.#key)) throw new Problem(UNSENDABLE); // a header could not hold it
    const headers = this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
    let answer;
    try {
      answer = await fetch(this.#address(route, query), { method, headers, body, credentials: "same-origin" });
    } catch {
      throw new Problem(UNREACHABLE);
    }
    const content = await answer.json().catch(() => null);
    if (answer.ok && content !== null) return content;
    throw new Problem(content?.code ? content : strange(answer.status));
  }
}

/** What stands between this page and the service (a proxy) may answer in its own way. */
function strange(status) {
  return {
    code: `http-${status}`,
    title: "The answer is not the service’s",
    detail: `Something answered with status ${status}, in words that this page does not know.`,
    cure: "Try again; if it goes on, tell whoever runs the service.",
  };
}

function filled(fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}
