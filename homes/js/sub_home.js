// A sub-home object: a home towards the isolates of its region, and a holder towards the project's
// home. Rust decides and writes; this class lets contacts wait, and sends its own to the home.

import { DurableObject } from 'cloudflare:workers';
import { Commit } from './commit.js';
import { answering, homes, Memory, texts, Waking } from './objects.js';
import { follow, inTime, log, meter, now, seed, wall } from './platform.js';
import { Awaited, during, sent, traceparent, whose } from './traces.js';

/** @import { Due, Itself, Delivery } from './contract.js' */
/** @import { Span } from './traces.js' */

// How long a contact waits here for the home. Its isolate sends it again after that.
const PARKED_MS = 900;
const NOBODY = '"nobody"';

export class MeterSubHome extends DurableObject {
  #memory = new Memory(this.env, () => {
    // What was parked is forgotten with the memory that it waited in.
    this.#answerAll(NOBODY);
    return new meter.SubHomeObject(texts(this.ctx.storage.sql));
  });
  #waking = new Waking(this.ctx.storage, () => this.#look());
  #resumed;
  #name;
  // What came since the last contact with the home.
  #untold = new Awaited();
  // Who waits: the contact's holder, lane and nonce → how to answer it.
  #parked = new Map();
  #commit = new Commit(
    () => this.#memory.life(),
    () => this.#turn(sub => sub.save()),
  );

  // `name` is this object's own, which only whoever calls it knows; `trace` is the caller's, where it has one.
  async contact(home, contact, name, trace) {
    const span = answering(this.env, trace, 'a sub-home', 'contact', home);
    return during(this.env, this.ctx, span, () => this.#contact(home, contact, name, span));
  }

  /** @param {Span} [span] */
  async #contact(home, contact, name, span) {
    if (name?.startsWith(`${home}/`)) this.#name = name;
    await this.#resume();
    /** @type {Delivery} */
    const { ticket, reply } = JSON.parse(this.#turn(sub => sub.contact(home, random(), contact, seed(), now())));
    const answered = reply ? Promise.resolve(reply) : this.#park(ticket);
    this.#pump(span);
    // What it does not bring to the home now, the next contact does.
    this.#untold.add(span);
    await this.#commit.written();
    return answered;
  }

  // Where its units are; empty where nothing was ever stored.
  async leases() {
    return this.#turn(sub => sub.leases(now())) ?? '';
  }

  // Panics, for tests: at once, or when it looks next at what is due.
  async panic(when) {
    this.#memory.panic(when === 'sub_home');
  }

  async alarm() {
    await this.#waking.alarmed();
  }

  // Once for each start: rows that were restored must not issue again what they have issued since. Whoever calls
  // does nothing before that is known.
  #resume() {
    return this.#resumed ??= this.#compare().catch(error => {
      this.#resumed = undefined;
      throw error;
    });
  }

  async #compare() {
    const known = this.#turn(sub => sub.known());
    if (known === undefined) return;
    /** @type {Itself} */
    const { home, holder } = JSON.parse(known);
    const progress = await this.#reach(home, stub => stub.progress(home, holder));
    if (this.#turn(sub => sub.resume(progress, random()))) {
      log('a sub-home begins a new life', 'its storage is older than what the home knows of it');
    }
    await this.#commit.written();
  }

  #reach(home, call) {
    return inTime(this.env, () => call(homes(this.env)(home)));
  }

  #park(ticket) {
    return new Promise(resolve => {
      const waiting = this.#parked.get(ticket) ?? [];
      this.#parked.set(ticket, [...waiting, resolve]);
      scheduler.wait(PARKED_MS).then(() => this.#answer(ticket, NOBODY));
    });
  }

  #answer(ticket, reply) {
    for (const resolve of this.#parked.get(ticket) ?? []) resolve(reply);
    this.#parked.delete(ticket);
  }

  #answerAll(reply) {
    for (const ticket of [...this.#parked.keys()]) this.#answer(ticket, reply);
  }

  #turn(act) {
    return this.#memory.turn(act);
  }

  // Sends what is due, and looks again when more will be.
  /** @param {Span} [span] */
  #pump(span) {
    const text = this.#turn(sub => sub.contacts(now()));
    /** @type {Due | undefined} */
    const due = text && JSON.parse(text);
    if (due) for (const contact of due.contacts) this.ctx.waitUntil(this.#send(due.home, contact, span));
    const wake = this.#turn(sub => sub.wake(now()));
    this.#waking.at(wake === undefined ? undefined : wall() + wake);
  }

  async #look() {
    try {
      if (this.env.METER_TEST === '1') await follow(homes(this.env));
      await this.#resume();
      this.#memory.panicIfAsked();
      this.#pump();
      await this.#commit.written();
    } catch (error) {
      log('a sub-home could not go on', error);
      this.#waking.again();
    }
  }

  /** @param {Span} [caller] */
  async #send(home, contact, caller) {
    const links = this.#untold.all();
    this.#untold.forget(links.length);
    const span = sent(caller, links, 'ask the home', { ...whose(home), method: 'contact' });
    const told = span ? [home, contact, this.#name, traceparent(span)] : [home, contact, this.#name];
    try {
      // What it says must be in the rows before anybody hears of it.
      await this.#commit.written();
      const reply = await during(this.env, this.ctx, span, () => this.#reach(home, stub => stub.contact(...told)));
      /** @type {Delivery[]} */
      const delivered = JSON.parse(this.#turn(sub => sub.receive(reply, seed(), now())));
      // Where nobody waits it is written with what comes next: lost before that, it is as if it had never come.
      if (delivered.length > 0) await this.#commit.written();
      for (const { ticket, reply } of delivered) {
        if (ticket === undefined) this.#answerAll(reply);
        else this.#answer(ticket, reply);
      }
      this.#pump();
    } catch (error) {
      log('a contact of a sub-home was not answered', error);
    }
  }
}

// What a new life of a sub-home is called after.
const random = () => crypto.getRandomValues(new Uint32Array(8));
