// What the model's card says of the errors at a threshold.

import { number, percent } from "./wording.js";

/** Of a threshold of the card. */
export function ratesOf(threshold) {
  const { false_acceptance: accepted, false_rejection: rejected, source } = threshold;
  if (accepted === null || rejected === null) return `The model’s card does not know its error rates (${source}).`;
  return `${percent(accepted)} false acceptances, ${percent(rejected)} false rejections, on ${source}.`;
}

/** Of what decided. @param {object} verdict an answer of verify or identify. @param {object} model of /v1/model */
export function ratesAt(verdict, model) {
  if (verdict.decided_by === null) return "Nothing decides, so there are none.";
  const known = model.thresholds.find((one) => verdict.decided_by === "score" && one.name === verdict.threshold_name);
  if (known) return ratesOf(known);
  const others = model.thresholds.filter((one) => one.false_acceptance !== null && one.false_rejection !== null);
  const elsewhere = others.map((one) => ` It knows them at a cosine of ${number(one.value, 3)} (${one.name}): ${ratesOf(one)}`);
  return `The model’s card does not know them for this threshold.${elsewhere.join("")}`;
}
