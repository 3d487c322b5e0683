// The answer to a claim, while it grows and when it is final.

import { element, facts } from "./dom.js";
import { measuresBox, notesBox } from "./findings.js";
import { measuredBox } from "./measured.js";
import { ratesAt } from "./rates.js";
import { Scale } from "./scale.js";
import { number, percent, seconds, sentence, signed } from "./wording.js";

/** What is decided, as a word for styles and a sentence. */
export function answerOf(verdict) {
  if (verdict.same_voice === null) return ["undecided", "No decision"];
  return verdict.same_voice
    ? ["same", `Accepted: this sounds like ${verdict.name}`]
    : ["other", `Rejected: this does not sound like ${verdict.name}`];
}

const SO_FAR = { same: "So far it sounds like", other: "So far it does not sound like", undecided: "No decision so far for" };

export class VerdictView {
  #title = element("p", { class: "answer" });
  #state = element("p", { class: "hint" });
  #scale;
  #rest = element("div");
  #spoken = element("p", { class: "unseen", role: "status" });
  #box = element("div", { class: "verdict", hidden: true });
  #decided = null;

  /** @param {Element} place */
  constructor(place) {
    const line = element("div");
    this.#scale = new Scale(line);
    this.#box.append(this.#title, this.#state, line, this.#rest);
    place.append(this.#box, this.#spoken);
  }

  hide() {
    this.#box.hidden = true;
    this.#scale.clear();
    this.#rest.replaceChildren();
    this.#decided = null;
    this.#spoken.textContent = "";
  }

  /** Show that there is no verdict yet, and why. */
  wait(text) {
    if (this.#decided !== null) return; // an earlier verdict says more
    this.#reveal("waiting", "Listening", text);
    this.#scale.clear();
    this.#box.classList.add("empty");
  }

  /** Show a verdict that may still change. */
  grow(update) {
    const [kind] = answerOf(update.verdict);
    this.#reveal(kind, `${SO_FAR[kind]} ${update.verdict.name}`, `After ${seconds(update.speech)} of speech.`);
    this.#mark(update.verdict);
    if (this.#decided !== kind) this.#spoken.textContent = this.#title.textContent;
    this.#decided = kind;
    this.#rest.replaceChildren(keyFacts(update.verdict));
  }

  /** Show the verdict. */
  end(verdict, model) {
    const [kind, text] = answerOf(verdict);
    this.#reveal(kind, text, `From ${seconds(verdict.recordings[0].speech)} of speech.`);
    this.#mark(verdict);
    this.#decided = kind;
    this.#spoken.textContent = [text, spokenScore(verdict), ...verdict.notes.map(sentence)].join(". ");
    this.#rest.replaceChildren(
      ...[
        keyFacts(verdict),
        verdict.same_voice ? unnoticed() : null,
        element("h3", {}, "Error rates at this threshold"),
        ...ratesAt(verdict, model),
        element("h3", {}, "How much worse it can be"),
        measuredBox(model),
        notesBox("What is doubtful about the recording", verdict.notes),
        measuresBox(verdict.recordings),
      ].filter(Boolean),
    );
  }

  #mark(verdict) {
    this.#box.classList.remove("empty");
    const [kind, value] = shown(verdict);
    this.#scale.show(kind, value, verdict.threshold);
  }

  #reveal(kind, title, state) {
    const appears = this.#box.hidden;
    this.#box.hidden = false;
    this.#box.dataset.kind = kind;
    this.#title.textContent = title;
    this.#state.textContent = state;
    if (appears) this.#box.scrollIntoView({ block: "nearest" });
  }
}

/** What no acceptance says. */
export function unnoticed() {
  return element("p", {}, "Not checked: whether somebody spoke here and now. A replayed, cloned or imitated voice is not noticed.");
}

/** What is compared with the threshold, or would be. */
function shown(verdict) {
  const kind = verdict.decided_by ?? (verdict.log_likelihood_ratio === null ? "score" : "log_likelihood_ratio");
  return [kind, verdict[kind]];
}

function spokenScore(verdict) {
  return verdict.probability === null
    ? `Score ${number(verdict.score, 3)}`
    : `Probability of one voice ${percent(verdict.probability)} at a prior of ${percent(verdict.prior)}`;
}

function keyFacts(verdict) {
  const { log_likelihood_ratio: ratio, probability } = verdict;
  return facts([
    probability === null
      ? ["Probability", "not known: the model has no calibration"]
      : ["Probability of one voice", `${percent(probability)}, at a prior of ${percent(verdict.prior)}`],
    ratio === null ? null : ["Log-likelihood ratio", `${signed(ratio)} nats`],
    ["Score", `${number(verdict.score, 3)} (cosine)`],
    ["Threshold", thresholdText(verdict)],
  ]);
}

/** The threshold of an answer and where it comes from. */
export function thresholdText(verdict) {
  if (verdict.decided_by === null) return `none: ${verdict.threshold_source}`;
  const value =
    verdict.decided_by === "score" ? `cosine ${number(verdict.threshold, 3)}` : `${signed(verdict.threshold)} nats`;
  const name = verdict.threshold_name === "bayes" ? "Bayes’ rule" : verdict.threshold_name;
  return `${value}, ${name}: ${verdict.threshold_source}`;
}
