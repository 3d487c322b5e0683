// What there is to say about recordings: what is doubtful, in the service's words, and what was measured.

import { element, facts } from "./dom.js";
import { number, percent, seconds, sentence } from "./wording.js";

/** Notes as a list; null where there are none. */
export function notesBox(title, notes) {
  if (!notes.length) return null;
  return element(
    "div",
    { class: "notes" },
    element("h3", {}, title),
    element("ul", {}, ...notes.map((note) => element("li", {}, sentence(note)))),
  );
}

/** Measures of recordings (`Heard` in the service's OpenAPI). */
export function measuresBox(recordings) {
  const several = recordings.length > 1;
  const parts = recordings.flatMap((heard, i) => [
    several ? element("h4", {}, `Recording ${i + 1}`) : null,
    facts([
      ["Length", seconds(heard.seconds)],
      ["Speech heard in it", seconds(heard.speech)],
      ["Clipped samples", percent(heard.clipping)],
      ["Power above 4 kHz", `${number(heard.above_4khz, 0)} dB against that below`],
      ["Length of the embedding", number(heard.magnitude, 1)],
      ["Format", `${heard.format}, ${heard.sample_rate.toLocaleString("en")} Hz`],
    ]),
  ]);
  return element("details", {}, element("summary", {}, `What was measured of the recording${several ? "s" : ""}`), ...parts.filter(Boolean));
}
