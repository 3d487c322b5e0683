// What is said about the model, from /v1/model.

import { element, facts } from "./dom.js";
import { measuredBox } from "./measured.js";
import { ratesOf } from "./rates.js";
import { megabytes, number, seconds, sentence } from "./wording.js";

const HEARS = {
  "silero-vad": "told from other sound by silero-vad",
  level: "not told from noise: all that sounds counts",
};

/** @param {object} model of /v1/model */
export function showModel(model) {
  const { limits } = model;
  const thresholds = model.thresholds.map((one) => [
    `Threshold ${one.name}`,
    `cosine ${number(one.value, 3)}. ${sentence(ratesOf(one))}`,
  ]);
  document.getElementById("model").replaceChildren(
    facts([
      ["Name", model.name],
      ["Calibration", model.calibration ?? "none: there are scores, but no probabilities"],
      ...(thresholds.length ? thresholds : [["Thresholds of the score", "the model’s card knows none, and no error rates"]]),
      ["Speech", HEARS[model.hears]],
      ["Two voices in turn", model.tells_voices ? "refused" : "not noticed"],
    ]),
    element("h3", {}, "How much worse it can be"),
    measuredBox(model),
    element(
      "details",
      {},
      element("summary", {}, "Limits and identity"),
      facts([
        ["Recording", `from ${seconds(limits.speech_seconds)} of speech to ${seconds(limits.seconds)} in all`],
        ["At once", `${limits.recordings} recordings, ${megabytes(limits.body_bytes)}`],
        ["Requests", `${limits.requests_per_minute} a minute`],
        ["Weights (SHA-256)", element("code", {}, model.weights_sha256)],
        ["voxangle", model.version],
      ]),
    ),
  );
}
