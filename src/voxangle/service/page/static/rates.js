// What the model's card says of the errors at a threshold.

import { element, table } from "./dom.js";
import { number, percent, sentence } from "./wording.js";

const ROUNDING = 1e-6; // thresholds that differ by less are one

/** Of a threshold of the card. */
export function ratesOf(threshold) {
  const { false_acceptance: accepted, false_rejection: rejected, source } = threshold;
  if (!isKnown(threshold)) return `The model’s card does not know its error rates (${source}).`;
  return `${percent(accepted)} false acceptances, ${percent(rejected)} false rejections (${source}).`;
}

/**
 * Of what decided: those at its threshold, or between which they lie, or at least where the card knows any.
 *
 * @param {object} answer of verify or identify
 * @param {object} model of /v1/model
 * @returns {Node[]}
 */
export function ratesAt(answer, model) {
  const say = (text) => element("p", {}, text);
  if (answer.decided_by === null) return [say("Nothing decides, so there are none.")];
  const own = model.thresholds.find((one) => answer.decided_by === "score" && one.name === answer.threshold_name);
  if (own && isKnown(own)) return [say(ratesOf(own))];
  const known = model.thresholds.filter(isKnown).sort((one, other) => one.value - other.value);
  if (!known.length) return [say("The model’s card knows none.")];
  return [say(between(answer, known)), tableOf(known)];
}

function isKnown(threshold) {
  return threshold.false_acceptance !== null && threshold.false_rejection !== null;
}

/**
 * The higher a threshold, the fewer false acceptances and the more false rejections: two with known rates bound those
 * of each one between them.
 */
function between(answer, known) {
  // As a log-likelihood ratio a threshold of the score is known only where nothing but the score makes the ratio.
  const place = answer.decided_by === "score" ? "value" : "log_likelihood_ratio";
  if (known.some((one) => (one[place] ?? null) === null)) {
    return "The model’s card does not know them at this log-likelihood ratio, but where the cosine score decides:";
  }
  const lower = known.filter((one) => one[place] <= answer.threshold + ROUNDING).at(-1);
  const upper = known.find((one) => one[place] >= answer.threshold - ROUNDING);
  if (lower === upper) return ratesOf(lower);
  const accepted = bounds(upper?.false_acceptance, lower?.false_acceptance);
  const rejected = bounds(lower?.false_rejection, upper?.false_rejection);
  const names = lower && upper ? `between ${lower.name} and ${upper.name}` : lower ? `above ${lower.name}` : `below ${upper.name}`;
  return sentence(`${accepted} false acceptances, ${rejected} false rejections: the threshold lies ${names}`);
}

function bounds(low, high) {
  if (low === undefined) return `at most ${percent(high)}`;
  if (high === undefined) return `at least ${percent(low)}`;
  return percent(low) === percent(high) ? percent(low) : `${percent(low)} to ${percent(high)}`;
}

function tableOf(known) {
  return table(
    "Known error rates",
    "Error rates on the model’s card, by cosine score",
    ["Threshold", "False acceptances", "False rejections"],
    known.map((one) => [`${one.name}, from ${number(one.value, 3)}`, percent(one.false_acceptance), percent(one.false_rejection)]),
  );
}
