// One task at a time, by the part of the address behind #.

const sections = [...document.querySelectorAll(".task")];
const links = [...document.querySelectorAll("nav a")];
const NAME = document.title;

/** Fired at the window when another task is shown. */
export const LEFT = "task-left";

/** Show tasks as the address says. @param {(task: string) => void} onTask is told which one is shown */
export function followAddress(onTask) {
  const show = (focus) => {
    const asked = location.hash.slice(1);
    const known = sections.some((section) => section.id === asked);
    if (focus && asked && !known) return; // a place within the task
    const task = known ? asked : sections[0].id;
    dispatchEvent(new Event(LEFT));
    for (const section of sections) section.hidden = section.id !== task;
    for (const link of links) {
      if (link.hash === `#${task}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    const title = document.getElementById(`${task}-title`);
    document.title = `${title.textContent} – ${NAME}`;
    if (focus) {
      // The heading, for those who hear the page; its top, for those who see it.
      title.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    onTask(task);
  };
  addEventListener("hashchange", () => show(true));
  show(false);
}
