// A panel that takes recordings: from the microphone, from a file dialogue, or dropped.

import { carriesFiles, fromTemplate } from "./dom.js";
import { FLOOR, LevelJudge, STATES } from "./level.js";
import { openMicrophone } from "./microphone.js";
import { LEFT } from "./routing.js";
import { seconds } from "./wording.js";
import { wavFile } from "./wav.js";

const SHORTEST = 0.5; // seconds; what is shorter was a slip of the finger
const STEADY = 1.0; // seconds for which what is said of the level stands, so that it can be read and spoken
const AUDIO = /^(audio|video)\//;
const ENDING = /\.(wav|flac|ogg|oga|opus|mp3|webm|m4a|mp4|aac)$/i;

/** What was recorded or chosen: a file, its length where known, in seconds, and whether it came from the microphone. */
export class Take {
  constructor(file, length, live) {
    Object.assign(this, { file, length, live });
  }
}

export class Recorder {
  #panel = fromTemplate("recorder-template");
  #parts = {};
  #hooks;
  #microphone = null;
  #recording = null; // the one that runs or waits for the microphone; another object for each
  #blocks = [];
  #judge = null;
  #said = { state: null, at: -Infinity };
  #taken = 0;

  /**
   * @param {Element} place whose panel this is
   * @param {object} hooks
   * @param {string} hooks.label of the panel
   * @param {boolean} hooks.several whether more than one file can be taken at once
   * @param {() => boolean} hooks.allowed says whether a recording may be taken now, and if not, says why on the page
   * @param {() => number} hooks.longest seconds of a recording
   * @param {(takes: Take[]) => void} hooks.taken gets what was taken
   * @param {(rate: number) => void} [hooks.begun] is told that the microphone is open
   * @param {(block: Float32Array) => void} [hooks.heard] gets the samples as they come
   * @param {() => void} [hooks.dropped] is told that a recording ended and is not handed over
   */
  constructor(place, hooks) {
    this.#hooks = hooks;
    const find = (selector) => this.#panel.querySelector(selector);
    this.#parts = {
      record: find(".record"),
      label: find(".record-label"),
      clock: find(".clock"),
      file: find("input"),
      level: find(".level"),
      bar: find(".level-bar"),
      text: find(".level-text"),
      error: find(".error"),
    };
    this.#panel.setAttribute("aria-label", hooks.label);
    this.#parts.file.multiple = hooks.several;
    if (hooks.several) find(".file span").textContent = "Choose files";
    if (hooks.several) find(".drop-hint").textContent = "or drop them here";
    this.#parts.record.addEventListener("click", () => (this.#microphone ? this.stop() : this.#start()));
    this.#parts.file.addEventListener("click", (event) => hooks.allowed() || event.preventDefault());
    this.#parts.file.addEventListener("change", () => {
      this.#choose([...this.#parts.file.files]);
      this.#parts.file.value = ""; // so that the same file can be chosen again
    });
    this.#listenForDrops(place.closest("section"));
    window.addEventListener(LEFT, () => this.cancel());
    place.replaceWith(this.#panel);
  }

  /** Whether files and the microphone can be used; they cannot while an answer is awaited. */
  set busy(busy) {
    this.#parts.record.disabled = busy;
    this.#parts.file.disabled = busy;
  }

  /** End the recording and hand it over; where the microphone is still awaited, there is none. */
  stop() {
    if (!this.#microphone) {
      this.cancel();
      return;
    }
    const { rate } = this.#microphone;
    const blocks = this.#blocks;
    const length = this.#length();
    if (length < SHORTEST) {
      this.#drop();
      this.#fail("That was too short to hold a voice. Press Record, speak, then press Stop.");
      return;
    }
    this.cancel();
    this.#taken += 1;
    this.#hooks.taken([new Take(wavFile(blocks, rate, `recording-${this.#taken}.wav`), length, true)]);
  }

  /** End the recording, and forget it; a microphone that is still awaited is closed when it comes. */
  cancel() {
    if (!this.#recording) return;
    this.#recording = null;
    this.#microphone?.close();
    this.#microphone = null;
    this.#show("Record", "The microphone is off.");
    this.#meter(FLOOR, "off");
  }

  #drop() {
    this.cancel();
    this.#hooks.dropped?.();
  }

  async #start() {
    if (this.#recording || !this.#hooks.allowed()) return;
    this.#fail("");
    const recording = (this.#recording = {});
    const current = () => this.#recording === recording;
    this.#parts.text.textContent = "Waiting for the microphone …";
    let microphone;
    try {
      microphone = await openMicrophone(
        (block) => current() && this.#hear(block),
        () => current() && this.stop(),
      );
    } catch (error) {
      if (!current()) return;
      this.cancel();
      this.#fail(error.message);
      return;
    }
    if (!current()) {
      microphone.close(); // nobody waits for it any more
      return;
    }
    this.#microphone = microphone;
    this.#blocks = [];
    this.#judge = new LevelJudge(microphone.rate);
    this.#said = { state: null, at: -Infinity };
    this.#parts.clock.textContent = seconds(0);
    this.#show("Stop", STATES.waiting);
    this.#hooks.begun?.(microphone.rate);
  }

  #hear(block) {
    if (!this.#microphone) return; // it is only being opened
    this.#blocks.push(block);
    this.#hooks.heard?.(block);
    const { level, state } = this.#judge.hear(block);
    const length = this.#length();
    this.#meter(level, state);
    if (state !== this.#said.state && length - this.#said.at >= STEADY) {
      this.#said = { state, at: length };
      this.#parts.text.textContent = STATES[state];
      this.#parts.text.dataset.state = state;
    }
    this.#parts.clock.textContent = seconds(length);
    if (length >= this.#hooks.longest()) this.stop();
  }

  #length() {
    return this.#blocks.reduce((sum, block) => sum + block.length, 0) / this.#microphone.rate;
  }

  #meter(level, state) {
    const { level: meter, bar } = this.#parts;
    const rounded = Math.round(level);
    meter.dataset.state = state;
    meter.setAttribute("aria-valuenow", rounded);
    meter.setAttribute("aria-valuetext", state === "off" ? "The microphone is off" : `${rounded} dB. ${STATES[state]}`);
    bar.style.setProperty("--level", (level - FLOOR) / -FLOOR);
  }

  #show(label, text) {
    this.#parts.label.textContent = label;
    this.#parts.text.textContent = text;
    delete this.#parts.text.dataset.state;
    this.#panel.classList.toggle("recording", label === "Stop");
  }

  #fail(text) {
    this.#parts.error.textContent = text;
    this.#parts.error.hidden = !text;
  }

  #listenForDrops(section) {
    const over = (event, is) => {
      if (!carriesFiles(event)) return; // text for an input
      event.preventDefault();
      section.classList.toggle("over", is);
    };
    section.addEventListener("dragover", (event) => over(event, true));
    section.addEventListener("dragleave", (event) => over(event, false));
    section.addEventListener("drop", (event) => {
      over(event, false);
      if (carriesFiles(event) && !this.#parts.file.disabled) this.#choose([...event.dataTransfer.files]);
    });
  }

  #choose(files) {
    if (!this.#hooks.allowed()) return;
    this.#fail("");
    const empty = files.find((file) => !file.size);
    const other = files.find((file) => !AUDIO.test(file.type) && !ENDING.test(file.name));
    if (empty) this.#fail(`${empty.name} is empty: it has 0 bytes. Choose a file that holds a recording.`);
    else if (other) this.#fail(`${other.name} is no recording. Choose wav, flac, ogg, opus, mp3, webm or m4a.`);
    else if (files.length > 1 && !this.#hooks.several) this.#fail("One recording at a time, please.");
    else if (files.length) {
      if (!this.#hooks.several) this.#drop(); // the file is asked about, not what was being said
      this.#hooks.taken(files.map((file) => new Take(file, null, false)));
    }
  }
}
