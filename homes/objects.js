// What the objects of both classes have in common.

import { configure, isConfigured, life, meter, rust } from './platform.js';

// What an object has in the memory of Rust. It goes with the wasm instance that it is in, and is made again in the next.
export class Memory {
  #env;
  #make;
  #object;
  #instance = -1;
  #panicking = false;

  // `make` makes it; its rows are read when they are needed.
  constructor(env, make) {
    this.#env = env;
    this.#make = make;
  }

  turn(act) {
    ready(this.#env);
    return rust(() => {
      if (this.#instance !== life.instanceId) {
        this.#object = this.#make();
        this.#instance = life.instanceId;
      }
      return act(this.#object);
    });
  }

  // Which one it is; another begins where it was lost.
  life() {
    return `${life.instanceId}/${life.criticalError}/${this.#object?.generation()}`;
  }

  // Panics, for tests: at once, or when it is asked next whether it should.
  panic(at_once) {
    if (this.#env.METER_TEST !== '1') return;
    this.#panicking = true;
    if (at_once) this.panicIfAsked();
  }

  panicIfAsked() {
    if (!this.#panicking) return;
    this.#panicking = false;
    this.turn(() => meter.panicForTest());
  }
}

// Homes need the keys that flushes are signed with and policies verified by, and nothing else.
export function ready(env) {
  if (!isConfigured()) configure(() => meter.configure(env.METER_SIGNING_KEYS ?? ''));
}

// Finds homes by their names.
export const homes = env => name => env.HOME.getByName(name);

// A Durable Object's SQL as Rust has it: the texts of a statement's rows, row by row.
export const texts = sql => ({ exec: (statement, values) => [...sql.exec(statement, ...values).raw()].flat().map(String) });
