// The page: tasks around one service.

import { Access } from "./access.js";
import { setError } from "./dom.js";
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

  /** Whether the service is known; where not, it is asked again. */
  ready() {
    if (page.model === null) start();
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

  /** A request was refused: perhaps for want of a key. */
  refused(problem) {
    access.wants(problem);
  },
};

const access = new Access(page.service, start);
const voiceprints = new Voiceprints(page);
new Enrol(page);
const verify = new Verify(page);
const identify = new Identify(page);

async function start() {
  try {
    page.model = await page.service.model();
  } catch (error) {
    const problem = asProblem(error);
    page.model = null;
    status.dataset.state = "bad";
    status.textContent = access.wants(problem) ? "This service wants an API key." : `${problem.title}. ${problem.cure}`;
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

followAddress((task) => {
  if (task === "voiceprints" && page.model !== null) voiceprints.load();
});
start();
