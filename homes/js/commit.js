// Group commit: what many calls changed within a moment is written at once, and each of them answers
// after that write. An object that is asked seldom writes without waiting.

import { wall } from './platform.js';

// A disk that syncs in 4 ms takes 250 single writes a second; in groups, all that came meanwhile.
const WINDOW_MS = 2;

export class Commit {
  #life;
  #write;
  #slow_ms;
  #group;
  #last = -Infinity;

  // `life` names the memory that a change is in; `write` writes all changes of it. Tests simulate a slow disk, on which
  // a write takes `slow_ms` on average.
  constructor(life, write, slow_ms) {
    this.#life = life;
    this.#write = write;
    this.#slow_ms = Number(slow_ms ?? 0);
  }

  // Resolves once everything that was changed before this call is written. If the memory was lost
  // before, the changes were too: then it throws, and nothing may be answered from them.
  written() {
    return this.#group ??= this.#later(this.#life());
  }

  async #later(life) {
    try {
      await scheduler.wait(Math.max(0, this.#last + WINDOW_MS - wall()));
      if (this.#slow_ms > 0) await scheduler.wait(Math.random() * 2 * this.#slow_ms);
    } finally {
      this.#group = undefined;
      this.#last = wall();
    }
    if (this.#life() !== life) throw new Error('what was decided was lost before it was written');
    this.#write();
  }
}
