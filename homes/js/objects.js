// What the objects of both classes have in common.

import { configure, isConfigured, life, meter, rust, wall } from './platform.js';
import { isTraced, received, whose } from './traces.js';

// For an object whose memory was lost; otherwise a timer comes first.
const ALARM_MS = 5000;
// An alarm that is overdue by that much was lost by the platform and is set again.
const ALARM_LOST_MS = 2000;
// The shortest pause between two looks at what is due.
const NAP_MS_MIN = 5;
// How soon an object that has failed looks again.
const AGAIN_MS = 1000;

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

  // Ends its instance by a stack that overflows, for tests.
  overflow() {
    if (this.#env.METER_TEST === '1') this.turn(() => meter.overflowForTest());
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

// Wakes an object for what is due. A timer costs nothing, but goes with the memory; an alarm stays, and costs writes that
// everybody in this process waits for. So there is an alarm only every few seconds, behind the timers.
export class Waking {
  #storage;
  #wake;
  #timer;
  #due;
  #alarm;

  // `wake` is what happens then; it must not throw.
  constructor(storage, wake) {
    this.#storage = storage;
    this.#wake = wake;
  }

  // When it wakes next, by the platform's clock; undefined if nothing is due.
  at(due) {
    if (due !== this.#due) {
      clearTimeout(this.#timer);
      this.#due = due;
      if (due !== undefined) this.#timer = setTimeout(() => this.#ring(), Math.max(due - wall(), NAP_MS_MIN));
    }
    if (due === undefined) return;
    if (this.#alarm === undefined || wall() > this.#alarm + ALARM_LOST_MS) {
      this.#alarm = wall() + ALARM_MS;
      this.#storage.setAlarm(this.#alarm);
    }
  }

  // It has failed, and may not know what is due.
  again() {
    this.at(wall() + AGAIN_MS);
  }

  // The alarm has rung.
  alarmed() {
    this.#alarm = undefined;
    return this.#wake();
  }

  #ring() {
    this.#due = undefined;
    this.#wake();
  }
}

// Homes need the keys that flushes are signed with and policies verified by, and nothing else.
export function ready(env) {
  if (!isConfigured()) configure(() => meter.configure(env.METER_SIGNING_KEYS ?? ''));
}

// The span of a call that has come with that trace, if it has one and there is a collector.
export const answering = (env, trace, as, method, name) =>
  trace && isTraced(env) ? received(env, trace, `answer as ${as}`, { ...whose(name), method }) : undefined;

// Finds homes by their names.
export const homes = env => name => env.HOME.getByName(name);

// A Durable Object's SQL as Rust has it: the texts of a statement's rows, row by row.
export const texts = sql => ({ exec: (statement, values) => [...sql.exec(statement, ...values).raw()].flat().map(String) });
