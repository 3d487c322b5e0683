// Numbers, as a person reads them.

const MINUS = "−";
const UNIT = "\u00a0"; // between a number and its unit no line ends

/** With so many digits behind the point, and a true minus. */
export function number(value, digits = 2) {
  return value.toFixed(digits).replace("-", MINUS);
}

/** With its sign; 0 has none. */
export function signed(value, digits = 2) {
  return (value > 0 ? "+" : "") + number(value, digits);
}

/** A share in per cent, near 0 and 1 without the claim of either. */
export function percent(share) {
  if (share > 0 && share < 0.001) return `less than 0.1${UNIT}%`;
  if (share < 1 && share > 0.999) return `more than 99.9${UNIT}%`;
  const digits = share > 0 && share < 0.01 ? 2 : 1;
  return `${(100 * share).toFixed(digits).replace(/\.0+$/, "")}${UNIT}%`;
}

export function seconds(value) {
  return `${value.toFixed(1)}${UNIT}s`;
}

export function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)}${UNIT}MB`;
}

/** How many of something: 1 recording, 2 recordings. */
export function count(many, one) {
  return `${many.toLocaleString("en")} ${one}${many === 1 ? "" : "s"}`;
}

/** A phrase as a sentence. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

/** A day and time of the reader's own clock. */
export function moment(iso) {
  return new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}
