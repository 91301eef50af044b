// What Rust and the worker's scripts say to each other; `edge/src/contract.rs` and `edge/src/step.rs` have the same.

/** Names and values of headers. */
export type Pairs = [name: string, value: string][];

/** The next thing to do with a request. */
export type Instruction = Next & {
  /** The home that wants background work. */
  restless?: string;
  /** Under what the same question can be asked again. */
  known?: Remembered;
};

export type Next = Answer | Forward | Read | Decide | Observe | Wait | Install | Leases | { do: 'metrics' };

/** Answer the client. */
export interface Answer {
  do: 'answer';
  status: number;
  headers: Pairs;
  body: string;
}

/** Forward the request, and add `headers` to what comes back. */
export interface Forward {
  do: 'forward';
  headers: Pairs;
  /** Headers of the forwarded request, which tell who asks. */
  identity: Pairs;
  ticket: Ticket;
  /** The code that it would have been denied with, in shadow mode; else empty. */
  would_deny: string;
  /** What pays for it; empty where nothing is counted. */
  source: string;
}

/** Read the body, of at most so many bytes, and hand it on. */
export interface Read {
  do: 'read_body' | 'read_observation' | 'read_policy' | 'read_leases';
  bytes_max: number;
  caller?: object;
}

/** Ask the home, and hand this text and its reply to `conclude`. */
export interface Decide {
  do: 'decide';
  home: string;
  ask: object;
  call?: string;
  then: 'check' | 'quota' | { forward: object };
}

/** Tell the home what was observed. */
export interface Observing {
  home: string;
  key: string;
  kind: string;
  agent: string;
  observed: object;
}

/** Tell the home, and hand this text and its reply to `observed`. */
export interface Observe extends Observing {
  do: 'observe';
}

/** Wait for the home's word, and call `outcome`. */
export interface Wait {
  do: 'wait';
  home: string;
  token: number;
}

/** Hand the policy to these homes. */
export interface Install {
  do: 'install';
  homes: string[];
  version: number;
}

/** Answer with what these homes and their sub-homes tell. */
export interface Leases {
  do: 'leases';
  homes: string[];
}

/** A question that was allowed. Each number that changes stands between two pieces of a text. */
export interface Remembered {
  number: number;
  home: string;
  limit: string[];
  body?: string[];
}

/** What was decided of a forwarded request. A token of 0 holds nothing. */
export interface Ticket {
  home: string;
  kind: string;
  agent: string;
  key: string;
  token: number;
}

/** A contact that is to be sent, and to which object. */
export interface Contact {
  object: string;
  contact: string;
}

/** What became of a forwarded request. */
export interface Upstream {
  status: number;
  tokens_in?: string;
  tokens_out?: string;
  anchors?: string;
}

/** What that means. */
export interface Concluded {
  counted: boolean;
  restless?: string;
  observe?: Observing;
}

/** The worker's settings, by the texts of its variables. */
export interface Settings {
  key_secrets: string;
  signing_keys: string;
  routes: string;
  bill: string;
  shadow: string;
  metrics_token: string;
  region: string;
  continent: string;
  sub_homes: string;
  counters: string;
  redis_url: string;
  redis_replicas: string;
  redis_accept_loss: string;
}

/** How often a path was answered with a status. */
export interface Answers {
  path: string;
  status: number;
  count: number;
}

/** How far the clock of tests is to be moved, or the answer that refuses it. */
export type ClockStep = Answer | { do: 'move'; offset_ms: number };
