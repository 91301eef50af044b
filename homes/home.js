// The home object: the Durable Object of one project and mode. Rust decides and writes; this class
// waits for it: it pulls policies, sends flushes and sets the alarm.

import { DurableObject } from 'cloudflare:workers';
import { Commit } from './commit.js';
import { homes, Memory, texts } from './objects.js';
import { follow, log, meter, moveClock, now, peer, seed, toWall, wall } from './platform.js';

// An aggregator that takes longer is asked again by the next alarm.
const AGGREGATOR_WAIT_MS = 10000;
// An alarm that is overdue by that much was lost by the platform and is set again.
const ALARM_LOST_MS = 2000;
// How soon an alarm that has failed rings again.
const ALARM_AGAIN_MS = 1000;

export class MeterHome extends DurableObject {
  #memory = new Memory(this.env, () => new meter.HomeObject(texts(this.ctx.storage.sql)));
  #pulling;
  #alarm;
  #commit = new Commit(
    () => this.#memory.life(),
    () => {
      this.#turn(home => home.save());
      this.#arm();
    },
  );

  async decide(name, ask, holder) {
    return this.#ask(name, home => home.decide(name, incarnation(), ask, holder, now()));
  }

  async observe(name, observing) {
    return this.#ask(name, home => home.observe(name, incarnation(), observing, now()));
  }

  async contact(name, contact) {
    return this.#ask(name, home => home.contact(name, incarnation(), contact, seed(), now()));
  }

  // How far a sub-home is with this home, by its id.
  async progress(name, holder) {
    return this.#turn(home => home.progress(holder, now()));
  }

  async #ask(name, act) {
    for (let pulled = false; ; pulled = true) {
      const reply = this.#turn(act);
      if (reply !== undefined) {
        await this.#commit.written();
        return reply;
      }
      if (pulled) return JSON.stringify({ failed: 'home_unavailable' });
      // Everyone who waits for the policy waits for one pull; all of them are in this object.
      const failed = await (this.#pulling ??= this.#pull(name).finally(() => { this.#pulling = undefined; }));
      if (failed) return JSON.stringify({ failed });
    }
  }

  async install(name, signed) {
    return Number(this.#turn(home => home.install(name, incarnation(), signed, now())));
  }

  // Keeps the farthest that the clock was moved, for tests. Whoever is told how far finds all homes there already.
  async clock(offset_ms) {
    const kept = this.ctx.storage.kv.get('clock') ?? 0;
    if (offset_ms > kept) this.ctx.storage.kv.put('clock', offset_ms);
    const farthest = Math.max(kept, offset_ms);
    moveClock(farthest);
    return farthest;
  }

  // Panics, for tests: at once, or when the alarm rings next.
  async panic(when) {
    this.#memory.panic(when === 'home');
  }

  async alarm() {
    this.#alarm = undefined;
    try {
      if (this.env.METER_TEST === '1') {
        await follow(homes(this.env));
        this.#memory.panicIfAsked();
      }
      await this.#flush();
    } catch (error) {
      // Its memory may be gone, and with it when it wanted to flush: it looks again soon.
      log('a flush failed', error);
      this.#alarm = wall() + ALARM_AGAIN_MS;
      this.ctx.storage.setAlarm(this.#alarm);
      return;
    }
    this.#arm();
  }

  #turn(act) {
    return this.#memory.turn(act);
  }

  // Sets the alarm to when Rust wants to flush. An alarm that should have rung long ago was lost.
  #arm() {
    const due = this.#turn(home => home.due());
    if (due === undefined) return;
    const at = toWall(due);
    const lost = this.#alarm !== undefined && wall() > this.#alarm + ALARM_LOST_MS;
    if (lost || this.#alarm === undefined || at < this.#alarm) {
      this.#alarm = Math.max(at, wall());
      this.ctx.storage.setAlarm(this.#alarm);
    }
  }

  async #send({ path, body, signature }) {
    return peer(this.env, 'AGGREGATOR', 'AGGREGATOR_URL').fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'palveron-signature': signature },
      body,
      signal: AbortSignal.timeout(AGGREGATOR_WAIT_MS),
    });
  }

  // Undefined once the policy is installed, else the code of why it is not.
  async #pull(name) {
    try {
      const response = await this.#send(JSON.parse(this.#turn(home => home.pull(name, incarnation(), now()))));
      const ack = await response.text();
      if (response.status === 404) return 'project_unknown';
      if (response.status !== 200) throw new Error(`the aggregator answered ${response.status}`);
      this.#turn(home => home.pulled(name, incarnation(), ack, now()));
      return undefined;
    } catch (error) {
      log('the policy could not be pulled', error);
      return 'home_unavailable';
    }
  }

  async #flush() {
    const text = this.#turn(home => home.flush(now()));
    if (text === undefined) return;
    const { seq, messages } = JSON.parse(text);
    const sent_by = this.#memory.life();
    try {
      let ack;
      for (const message of messages) {
        const response = await this.#send(message);
        ack = await response.text();
        if (response.status !== 200) throw new Error(`the aggregator answered ${response.status}`);
      }
      // What a lost memory has sent is no receipt for what was counted since.
      if (this.#memory.life() === sent_by) this.#turn(home => home.flushed(BigInt(seq), ack, now()));
    } catch (error) {
      log('a flush was not acknowledged', error);
      if (this.#memory.life() === sent_by) this.#turn(home => home.flushFailed(now()));
    }
  }
}

// The name of a new life of a home's storage; used only if nothing was stored yet.
function incarnation() {
  return crypto.randomUUID().replaceAll('-', '');
}
