// Who it is of those enrolled, or nobody.

import { element, facts, table } from "./dom.js";
import { measuresBox, notesBox } from "./findings.js";
import { measuredBox } from "./measured.js";
import { ratesAt } from "./rates.js";
import { Scale } from "./scale.js";
import { thresholdText, unnoticed } from "./verdict.js";
import { count, number, percent, signed } from "./wording.js";

/** What is decided, as a word for styles and a sentence. */
export function answerOf(found) {
  if (!found.enrolled) return ["undecided", "Nobody is enrolled yet"];
  if (!found.decided) return ["undecided", "No decision"];
  return found.name === null ? ["other", "Nobody who is enrolled"] : ["same", `This sounds like ${found.name}`];
}

/** @param {object} found an answer of identify. @param {object} model of /v1/model */
export function identifiedBox(found, model) {
  const [kind, text] = answerOf(found);
  const line = element("div");
  const [best] = found.candidates;
  if (best) {
    const by = found.decided_by ?? (best.log_likelihood_ratio === null ? "score" : "log_likelihood_ratio");
    new Scale(line).show(by, best[by], found.threshold);
  }
  return element(
    "div",
    { class: "verdict", "data-kind": kind },
    element("p", { class: "answer" }, text),
    element("p", { class: "hint" }, `Compared with ${count(found.enrolled, "voiceprint")}${best ? `; on the line: ${best.name}, the most alike` : ""}.`),
    line,
    found.candidates.length ? candidates(found) : null,
    facts([found.enrolled ? ["Threshold", thresholdText(found)] : null]),
    found.name === null ? null : unnoticed(),
    element("h3", {}, "Error rates at this threshold"),
    ...ratesAt(found, model),
    found.enrolled > 1 ? element("p", { class: "hint" }, `They are of one comparison; this search made ${found.enrolled.toLocaleString("en")}.`) : null,
    element("h3", {}, "How much worse it can be"),
    measuredBox(model),
    notesBox("What else is to be said", found.notes),
    measuresBox(found.recordings),
  );
}

function candidates(found) {
  const known = found.nobody !== null;
  const row = (name, probability, ratio, score) => {
    const bar = element("span", { class: "bar" });
    bar.style.setProperty("--share", probability ?? 0);
    const judged = known ? [[percent(probability), bar], ratio === null ? "" : signed(ratio)] : [];
    return [name, ...judged, score === null ? "" : number(score, 3)];
  };
  return table(
    "Candidates",
    known ? `Whose voice it is, at a prior of ${percent(found.prior)} that it is somebody enrolled` : "The most alike",
    known ? ["Name", "Probability", "LLR", "Cosine"] : ["Name", "Cosine"],
    [
      ...found.candidates.map((one) => row(one.name, one.probability, one.log_likelihood_ratio, one.score)),
      ...(known ? [row("nobody of them", found.nobody, null, null)] : []),
    ],
  );
}
