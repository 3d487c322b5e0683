// Verification while somebody speaks: samples go out over a WebSocket, scores come back.

import { Problem } from "./service.js";
import { pcm16 } from "./wav.js";

export class LiveVerification {
  #socket;
  #waiting = [];
  #final;
  #settle;

  /**
   * @param {import("./service.js").Service} service
   * @param {object} opening the first message, without the key
   * @param {(update: object) => void} onUpdate gets what is known so far (`Streamed` in the service's OpenAPI)
   * @param {(problem: Problem) => void} onProblem is told why it ended early
   */
  constructor(service, opening, onUpdate, onProblem) {
    this.#final = new Promise((resolve) => (this.#settle = resolve));
    const first = service.key ? { key: service.key, ...opening } : opening;
    this.#socket = service.stream();
    this.#socket.addEventListener("open", () => {
      this.#socket.send(JSON.stringify(first));
      this.#waiting.forEach((message) => this.#socket.send(message));
      this.#waiting = [];
    });
    this.#socket.addEventListener("message", ({ data }) => {
      const { update, problem } = JSON.parse(data);
      if (problem) {
        this.#settle(null);
        onProblem(new Problem(problem));
      } else if (update.final) {
        this.#settle(update);
      } else {
        onUpdate(update);
      }
    });
    this.#socket.addEventListener("close", () => this.#settle(null));
  }

  /** @param {Float32Array} block of samples in [-1, 1] */
  send(block) {
    this.#tell(pcm16([block]));
  }

  /** The last update; null where the connection broke or a problem was told. */
  end() {
    this.#tell(JSON.stringify({ end: true }));
    return this.#final;
  }

  /** Leave without an answer. */
  leave() {
    this.#socket.close();
  }

  #tell(message) {
    if (this.#socket.readyState === WebSocket.CONNECTING) this.#waiting.push(message);
    else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message);
  }
}
