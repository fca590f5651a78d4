// Waits of a random part of 1 s, 2 s, 4 s … up to 30 s, which word of the network's
// return ends at once.

export class Backoff {
  #tries = 0;
  #waiting = new Set();

  reset() {
    this.#tries = 0;
  }

  /** Waits for its turn, or for as long as the server said. */
  wait(told) {
    const ms = told ?? Math.random() * Math.min(30_000, 1_000 * 2 ** this.#tries);
    this.#tries++;
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.#waiting.delete(go);
        resolve();
      };
      const timer = setTimeout(go, ms);
      if (told === undefined) this.#waiting.add(go);
    });
  }

  wake() {
    for (const go of [...this.#waiting]) go();
  }
}
