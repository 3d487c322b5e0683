// How loud the microphone is, and whether that will do.

export const FLOOR = -60; // dB below full scale, where the meter begins
const QUIET = -45; // the loudest block of normal speech lies above
const FULL = 0.99; // three samples in a row there are a flat top
const MEMORY = 1.5; // seconds that a judgement looks back: longer than the pauses between words

export const STATES = {
  waiting: "Listening. Speak now.",
  quiet: "Too quiet: come closer to the microphone, or raise its level.",
  good: "The level is good.",
  clipping: "Too loud, it clips: move away from the microphone, or lower its level.",
};

export class LevelJudge {
  #recent = [];
  #clipped = -Infinity;
  #now = 0;

  /** @param {number} rate in Hz */
  constructor(rate) {
    this.rate = rate;
  }

  /**
   * Hear a block.
   *
   * @returns {{level: number, state: keyof STATES}} the block's level, RMS in dB below full scale, at least FLOOR.
   */
  hear(block) {
    this.#now += block.length / this.rate;
    let power = 0;
    let top = 0;
    for (const sample of block) {
      power += sample * sample;
      top = Math.abs(sample) >= FULL ? top + 1 : 0;
      if (top >= 3) this.#clipped = this.#now;
    }
    const level = Math.max(FLOOR, 10 * Math.log10(power / block.length + 1e-12));
    this.#recent.push({ at: this.#now, level });
    while (this.#recent[0].at < this.#now - MEMORY) this.#recent.shift();
    return { level, state: this.#judge() };
  }

  #judge() {
    if (this.#now - this.#clipped < MEMORY) return "clipping";
    const loudest = Math.max(...this.#recent.map((one) => one.level));
    if (loudest >= QUIET) return "good";
    return this.#now < MEMORY ? "waiting" : "quiet";
  }
}
