// What the model's card says of other voices, rooms and lines than those that its thresholds were set on.

import { element, table } from "./dom.js";
import { percent } from "./wording.js";

const WORST = 3;

/**
 * How much worse it can be, in words, with the table behind them.
 *
 * @param {object} model of /v1/model
 * @returns {Node}
 */
export function measuredBox({ measured }) {
  if (!measured.length) {
    return element("p", {}, "The model’s card knows no other voices, rooms or languages: how much worse it can be was not measured.");
  }
  const worst = [...measured].sort((one, other) => other.eer - one.eer);
  return element(
    "div",
    { class: "measured" },
    element("p", {}, spread(worst)),
    worst.length > 1 ? element("ul", {}, ...worst.slice(0, WORST).map((one) => element("li", {}, `${spoken(one)}: ${percent(one.eer)}`))) : null,
    element(
      "details",
      {},
      element("summary", {}, `${worst.length > 1 ? `All ${worst.length} lists` : "The list"}, and what the rate means`),
      element("p", {}, "The equal error rate: at a threshold set for the list itself, this share of different voices is accepted and the same share of same voices is rejected. 50\u00a0% is what tossing a coin gives."),
      table(
        "Error rates by list",
        "Equal error rates on the model’s card, worst first",
        ["List", "Error rate", "95\u00a0% interval", "Speakers"],
        worst.map((one) => [one.condition === null ? one.trials : `${one.condition} (${one.trials})`, percent(one.eer), `${percent(one.low)} to ${percent(one.high)}`, one.speakers.toLocaleString("en")]),
      ),
      notes(measured),
    ),
  );
}

function spread(worst) {
  const [most, least] = [worst[0], worst.at(-1)];
  if (worst.length === 1) return `On the one list of the model’s card, ${spoken(most)}, the error rate was ${percent(most.eer)}.`;
  const best = `${percent(least.eer)} at best (${spoken(least)})`;
  return `On the ${worst.length} lists of the model’s card the error rate was ${best} and ${percent(most.eer)} at worst. The worst were:`;
}

/** What is spoken in a list; of one that the service does not know, its name. */
function spoken({ trials, condition }) {
  return condition ?? trials;
}

/** What must be said of the figures, each once, with the lists that it is said of. */
function notes(measured) {
  const said = new Map();
  for (const { trials, notes } of measured) for (const note of notes) said.set(note, [...(said.get(note) ?? []), trials]);
  if (!said.size) return null;
  return element("ul", { class: "hint" }, ...[...said].map(([note, lists]) => element("li", {}, `${lists.join(", ")}: ${note}`)));
}
