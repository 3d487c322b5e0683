"""What can be told of a page's accessibility by looking at its elements: names, references, contrast, width."""

from __future__ import annotations

from typing import Any

__all__ = ["faults"]

_LOOK = """() => {
  const faults = [];
  const say = (what, one) => faults.push(`${what}: ${one.outerHTML.slice(0, 120)}`);
  const visible = (one) => one.checkVisibility({ opacityProperty: false, visibilityProperty: true });
  const all = [...document.body.querySelectorAll("*")];

  const ids = all.map((one) => one.id).filter(Boolean);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} is there twice`);
  for (const one of all) {
    for (const name of ["aria-labelledby", "aria-describedby", "for", "list"]) {
      for (const id of (one.getAttribute(name) ?? "").split(" ").filter(Boolean)) {
        if (!document.getElementById(id)) say(`${name} leads nowhere (${id})`, one);
      }
    }
    if (one.tabIndex > 0) say("an order of focus of its own", one);
  }

  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].filter(visible).map((one) => Number(one.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
  levels.forEach((level, i) => i && level > levels[i - 1] + 1 && faults.push(`h${level} after h${levels[i - 1]}`));
  for (const role of ["main", "nav", "header", "aside"]) {
    if (document.querySelectorAll(role).length !== 1) faults.push(`not one ${role}`);
  }

  // Contrast, after WCAG 2.2 (1.4.3 and 1.4.11), of sRGB colours.
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) {
      const layer = channels(getComputedStyle(at).backgroundColor);
      if (layer[3] > 0) layers.push(layer);
      if (layer[3] === 1) break;
    }
    const over = (below, [r, g, b, a]) => [r, g, b].map((c, i) => a * c + (1 - a) * below[i]);
    return layers.reverse().reduce(over, [255, 255, 255]);
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  for (const one of all.filter(visible)) {
    const style = getComputedStyle(one);
    const written = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (written && !one.matches(":disabled, :disabled *")) {
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      const found = ratio(channels(style.color).slice(0, 3), ground(one));
      if (found < (large ? 3 : 4.5)) say(`text contrast ${found.toFixed(2)}`, one);
    }
    if (one.matches("input:not([type=checkbox], [type=file]), select, button:not(.primary)")) {
      const found = ratio(channels(style.borderTopColor).slice(0, 3), ground(one.parentElement));
      if (found < 3) say(`edge contrast ${found.toFixed(2)}`, one);
    }
    if (one.matches("button, input:not([type=checkbox], [type=file]), select")) {
      const box = one.getBoundingClientRect();
      if (box.width && (box.width < 24 || box.height < 24)) say("too small to hit", one); // WCAG 2.2, 2.5.8
    }
  }

  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) faults.push(`the page is ${wide} pixels wider than the window`);
  return faults;
}"""


def faults(page: Any) -> list[str]:
    """What is wrong with a page as it is shown now; the browser's own accessibility tree names what has no name."""
    return page.evaluate(_LOOK) + [f"no name: {role}" for role in _nameless(page)]


def _nameless(page: Any) -> list[str]:
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    operated = {
        "button",
        "link",
        "textbox",
        "combobox",
        "checkbox",
        "spinbutton",
        "meter",
        "timer",
        "dialog",
        "region",
    }
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in operated
        and not node.get("name", {}).get("value", "").strip()
    ]
