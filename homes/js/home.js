// The home object: the Durable Object of one project and mode. Rust decides and writes; this class
// waits for it: it pulls policies, and sends flushes when they are due.

import { DurableObject } from 'cloudflare:workers';
import { Commit } from './commit.js';
import { answering, homes, Memory, texts, Waking } from './objects.js';
import { follow, log, meter, moveClock, now, peer, seed, toWall, wall } from './platform.js';
import { Awaited, during, isTraced, sent, sentAnyway, traceparent, whose } from './traces.js';

/** @import { Message, Round } from './contract.js' */
/** @import { Span } from './traces.js' */

// An aggregator that takes longer is asked again later.
const AGGREGATOR_WAIT_MS = 10000;
// Who could be answered without the policy that is being pulled does not wait longer for it.
const PULL_WAIT_MS = 500;
// Beyond that many, names of sub-homes are not kept.
const SUB_HOMES_MAX = 256;

export class MeterHome extends DurableObject {
  #memory = new Memory(this.env, () => new meter.HomeObject(texts(this.ctx.storage.sql)));
  #waking = new Waking(this.ctx.storage, () => this.#look());
  #pulling;
  #looking;
  #sub_homes;
  // What came since the last flush.
  #unflushed = new Awaited();
  #commit = new Commit(
    () => this.#memory.life(),
    () => {
      this.#turn(home => home.save());
      this.#arm();
    },
    this.env.METER_TEST_HOME_WRITE_MS,
  );

  // `trace` is the caller's, where it has one.
  async decide(name, ask, call, trace) {
    return this.#answer(trace, 'decide', name, (home, waited) => home.decide(name, incarnation(), ask, call, waited, now()));
  }

  async observe(name, observing, trace) {
    return this.#answer(trace, 'observe', name, (home, waited) => home.observe(name, incarnation(), observing, waited, now()));
  }

  // `from` is the object that calls, where that is a sub-home.
  async contact(name, contact, from, trace) {
    if (from?.startsWith(`${name}/`)) this.#know(from);
    return this.#answer(trace, 'contact', name, (home, waited) => home.contact(name, incarnation(), contact, waited, seed(), now()));
  }

  #answer(trace, method, name, act) {
    const span = answering(this.env, trace, 'the home', method, name);
    return during(this.env, this.ctx, span, () => this.#ask(name, act, span));
  }

  // How far a sub-home is with this home, by its id.
  async progress(name, holder) {
    return this.#turn(home => home.progress(holder, now()));
  }

  // Where its units are, and behind that the sub-homes that it knows by their names; empty where nothing was ever stored.
  async leases() {
    return [this.#turn(home => home.leases(now())) ?? '', ...this.#names()];
  }

  // Keeps the name of a sub-home, by which it can be asked. Nothing is decided by it.
  #know(sub_home) {
    const names = this.#names();
    if (names.has(sub_home) || names.size >= SUB_HOMES_MAX) return;
    names.add(sub_home);
    this.ctx.storage.kv.put('sub_homes', [...names]);
  }

  #names() {
    return this.#sub_homes ??= new Set(/** @type {string[]} */ (this.ctx.storage.kv.get('sub_homes') ?? []));
  }

  /** @param {Span} [span] */
  async #ask(name, act, span) {
    let reply = this.#turn(home => act(home, false));
    if (reply === undefined) {
      // Everyone who waits for the policy waits for one pull; all of them are in this object.
      const pulling = this.#pulling ??= this.#pull(name, span).finally(() => { this.#pulling = undefined; });
      const again = () => this.#turn(home => act(home, true));
      await Promise.race([pulling, scheduler.wait(PULL_WAIT_MS)]);
      reply = again();
      if (reply === undefined) {
        const failed = await pulling;
        reply = failed ? undefined : again();
        if (reply === undefined) return JSON.stringify({ failed: failed ?? 'home_unavailable' });
      }
    }
    await this.#commit.written();
    // What is counted by now is in the next flush.
    this.#unflushed.add(span);
    return reply;
  }

  async install(name, signed) {
    const version = this.#turn(home => home.install(name, incarnation(), signed, now()));
    // It may be told to end.
    this.#arm();
    return Number(version);
  }

  // Keeps the farthest that the clock was moved, for tests. Whoever is told how far finds all homes there already.
  async clock(offset_ms) {
    const kept = Number(this.ctx.storage.kv.get('clock') ?? 0);
    if (offset_ms > kept) this.ctx.storage.kv.put('clock', offset_ms);
    const farthest = Math.max(kept, offset_ms);
    moveClock(farthest);
    return farthest;
  }

  // Panics, for tests: at once, or when it looks next whether to flush.
  async panic(when) {
    if (when === 'overflow') return this.#memory.overflow();
    this.#memory.panic(when === 'home');
  }

  async alarm() {
    await this.#waking.alarmed();
  }

  // Flushes if that is due, one at a time.
  #look() {
    return this.#looking ??= this.#flushIfDue().finally(() => { this.#looking = undefined; });
  }

  async #flushIfDue() {
    try {
      if (this.env.METER_TEST === '1') {
        await follow(homes(this.env));
        this.#memory.panicIfAsked();
      }
      const due = this.#turn(home => home.due());
      // Where the memory was lost nothing is known of that.
      if (due === undefined || toWall(due) <= wall()) await this.#flush();
      this.#arm();
    } catch (error) {
      // Its memory may be gone, and with it when it wanted to flush: it looks again soon.
      log('a flush failed', error);
      this.#waking.again();
    }
  }

  #turn(act) {
    return this.#memory.turn(act);
  }

  // Wakes when Rust wants to flush.
  #arm() {
    const due = this.#turn(home => home.due());
    this.#waking.at(due === undefined ? undefined : toWall(due));
  }

  /**
   * @param {Message} message
   * @param {Span} [span]
   */
  async #send({ path, body, signature }, span) {
    const headers = { 'content-type': 'application/json', 'palveron-signature': signature };
    if (span) headers.traceparent = traceparent(span);
    return peer(this.env, 'AGGREGATOR', 'AGGREGATOR_URL').fetch(path, {
      method: 'POST',
      headers,
      body,
      signal: AbortSignal.timeout(AGGREGATOR_WAIT_MS),
    });
  }

  // Undefined once the policy is installed, else the code of why it is not.
  /** @param {Span} [caller] */
  async #pull(name, caller) {
    let failed = 'home_unavailable';
    const span = sent(caller, [], 'pull a policy', whose(name));
    try {
      const message = JSON.parse(this.#turn(home => home.pull(name, incarnation(), now())));
      const response = await during(this.env, this.ctx, span, () => this.#send(message, span));
      const ack = await response.text();
      if (response.status === 200) {
        this.#turn(home => home.pulled(name, incarnation(), ack, now()));
        return undefined;
      }
      if (response.status !== 404) throw new Error(`the aggregator answered ${response.status}`);
      failed = 'project_unknown';
    } catch (error) {
      log('the policy could not be pulled', error);
    }
    this.#turn(home => home.pullFailed(now()));
    return failed;
  }

  async #flush() {
    const text = this.#turn(home => home.flush(now()));
    if (text === undefined) return;
    /** @type {Round} */
    const { seq, messages } = JSON.parse(text);
    const sent_by = this.#memory.life();
    const links = this.#unflushed.all();
    const span = isTraced(this.env) ? sentAnyway(this.env, links, 'flush', { 'flush.seq': Number(seq) }) : undefined;
    try {
      let ack;
      await during(this.env, this.ctx, span, async () => {
        for (const message of messages) {
          const response = await this.#send(message, span);
          ack = await response.text();
          if (response.status !== 200) throw new Error(`the aggregator answered ${response.status}`);
        }
      });
      this.#unflushed.forget(links.length);
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
