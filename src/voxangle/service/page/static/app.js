// The page: tasks around one service.

import { Access } from "./access.js";
import { carriesFiles, setError } from "./dom.js";
import { Enrol } from "./enrol.js";
import { History } from "./history.js";
import { Identify } from "./identify.js";
import { showModel } from "./model.js";
import { asProblem } from "./problems.js";
import { followAddress } from "./routing.js";
import { Service } from "./service.js";
import { Verify } from "./verify.js";
import { Voiceprints } from "./voiceprints.js";

const status = document.getElementById("service");

/** What the tasks share. */
const page = {
  service: new Service(),
  history: new History(),
  /** What /v1/model says; null until it is known. */
  model: null,

  /** Whether the service is known; where it is not, or did not answer, it is asked again. */
  ready() {
    if (status.dataset.state !== "good") start();
    return page.model !== null;
  },

  /** Whether a name is given; where not, that is said at its input. */
  named(input, line) {
    const given = input.value.trim() !== "";
    setError(input, line, given ? "" : "Say who it is first.");
    if (!given) input.focus();
    return given;
  },

  /** Go and verify somebody. */
  verify(name) {
    verify.claim(name);
    location.hash = "verify";
  },

  /** Somebody was enrolled. */
  changed() {
    voiceprints.load();
  },

  /** A request was refused: perhaps for want of a key, or because the service is gone. */
  refused(problem) {
    tell(problem);
  },
};

const access = new Access(page.service, start);
const voiceprints = new Voiceprints(page);
new Enrol(page);
const verify = new Verify(page);
const identify = new Identify(page);

/** Say at the top why nothing can be asked now, where a problem is not of one request alone. */
function tell(problem) {
  const keyless = access.wants(problem);
  if (page.model !== null && !keyless && problem.code !== "unreachable") return;
  status.dataset.state = "bad";
  status.textContent = keyless ? "This service wants an API key." : `${problem.title}. ${problem.cure}`;
}

async function start() {
  try {
    page.model = await page.service.model();
  } catch (error) {
    tell(asProblem(error)); // what was known of the model still holds
    return;
  }
  access.hide();
  showModel(page.model);
  verify.offer(page.model);
  identify.offer(page.model);
  status.dataset.state = "good";
  status.textContent = `Ready. Model: ${page.model.name}`;
  voiceprints.load();
}

// A file that misses its place would be opened by the browser, in some instead of the page and all that was recorded.
for (const name of ["dragover", "drop"]) {
  document.addEventListener(name, (event) => {
    if (event.defaultPrevented || !carriesFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  });
}

followAddress((task) => {
  if (task === "voiceprints" && page.model !== null) voiceprints.load();
});
start();
