// Elements, made without markup in strings: what the service says is always text.

/**
 * An element with attributes and children.
 *
 * @param {string} tag
 * @param {Object<string, string|boolean|null|undefined>} attributes `true` for those without a value; others that are
 *   falsy are left out.
 * @param {...(Node|string|null)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value || value === "") made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** A button that does something. */
export function button(label, attributes, action) {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", action);
  return made;
}

/** Terms and what is said of each; rows that are null are left out. */
export function facts(rows) {
  const list = element("dl", { class: "facts" });
  for (const [term, said] of rows.filter((row) => row !== null)) {
    list.append(element("div", {}, element("dt", {}, term), element("dd", {}, said)));
  }
  return list;
}

/**
 * A table whose first column names its rows; where it is too wide it can be scrolled.
 *
 * @param {string} label of the place it stands in
 * @param {string} caption
 * @param {string[]} headings of its columns
 * @param {Array<Array<string|Node[]>>} rows their cells
 */
export function table(label, caption, headings, rows) {
  const row = ([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, ...[cell].flat())));
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  return element(
    "div",
    { class: "wide", role: "region", "aria-label": label, tabindex: "0" },
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...rows.map(row))),
  );
}

/** The first element of a template, copied. */
export function fromTemplate(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Whether files are dragged or dropped, and not text. */
export function carriesFiles(event) {
  return event.dataTransfer.types.includes("Files");
}

/** Put content in a place, and that into view. */
export function present(place, ...content) {
  place.replaceChildren(...content);
  place.scrollIntoView({ block: "nearest" });
}

/** Put an error below an input, or take it away. */
export function setError(input, line, text) {
  line.textContent = text;
  line.hidden = !text;
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}
