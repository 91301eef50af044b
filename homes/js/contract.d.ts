// What Rust and the scripts of homes say to each other; `homes/src/*_object.rs` have the same.

/** A signed message to the aggregator. */
export interface Message {
  path: string;
  body: string;
  signature: string;
}

/** A flush: each message in turn, then one call with the outcome. */
export interface Round {
  seq: number;
  messages: Message[];
}

/** What an isolate is told by a sub-home. */
export interface Delivery {
  /** Whose contact it was; none is everybody's who waits. */
  ticket?: string;
  reply?: string;
}

/** Which sub-home this is, and what its home knows it by. */
export interface Itself {
  home: string;
  holder: string;
}

/** Contacts that are to be sent to the home. */
export interface Due {
  home: string;
  contacts: string[];
}
