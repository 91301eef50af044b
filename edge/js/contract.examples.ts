// What Rust writes and reads, by its own test; the scripts' compiler judges it by the types.
// Written by `cargo test -p meter-edge write_the_examples -- --ignored`.

import type { Answers, Concluded, Contact, Settings, Ticket, Instruction, Upstream } from './contract';

export const example0: Instruction[] = [
  {
    "body": "{\"type\":\"https://docs.palveron.com/errors/not_found\",\"title\":\"There is nothing here\",\"status\":404,\"code\":\"not_found\",\"detail\":\"There is nothing.\"}",
    "do": "answer",
    "headers": [
      [
        "Content-Type",
        "application/problem+json"
      ]
    ],
    "status": 404
  },
  {
    "bytes_max": 4096,
    "caller": {
      "agent": "bot",
      "home": "demo/live",
      "key": "k001"
    },
    "do": "read_body"
  },
  {
    "bytes_max": 4096,
    "caller": {
      "agent": "bot",
      "home": "demo/live",
      "key": "k001"
    },
    "do": "read_observation"
  },
  {
    "agent": "bot",
    "do": "observe",
    "home": "demo/live",
    "key": "k001",
    "kind": "verify",
    "observed": {
      "anchors": 0,
      "tokens_in": 5,
      "tokens_out": 0
    }
  },
  {
    "ask": {
      "agent": "bot",
      "cost": 1,
      "dry_run": false,
      "held": false,
      "key": "k001",
      "kind": "verify"
    },
    "do": "decide",
    "home": "demo/live",
    "then": "check"
  },
  {
    "bytes_max": 4096,
    "do": "read_policy"
  },
  {
    "bytes_max": 4096,
    "do": "read_leases"
  },
  {
    "do": "leases",
    "homes": [
      "demo/live"
    ]
  },
  {
    "do": "metrics"
  },
  {
    "do": "install",
    "homes": [
      "demo/live"
    ],
    "version": 3
  },
  {
    "body": "{\"remaining\":1}",
    "do": "answer",
    "headers": [
      [
        "Content-Type",
        "application/json"
      ]
    ],
    "known": {
      "body": [
        "{\"remaining\":",
        "}"
      ],
      "home": "demo/live",
      "limit": [
        "\"rpm\";r=",
        ";t=",
        ""
      ],
      "number": 3
    },
    "restless": "demo/live",
    "status": 200
  },
  {
    "do": "forward",
    "headers": [
      [
        "RateLimit",
        "\"rpm\";r=1;t=2"
      ]
    ],
    "identity": [
      [
        "Palveron-Project",
        "demo"
      ]
    ],
    "restless": "demo/live",
    "source": "included",
    "ticket": {
      "agent": "bot",
      "home": "demo/live",
      "key": "k001",
      "kind": "verify",
      "token": 7
    },
    "would_deny": ""
  },
  {
    "do": "wait",
    "home": "demo/live",
    "token": 9
  }
];

export const example1: Contact = {
  "contact": "{}",
  "object": "demo/live/eu/0"
};

export const example2: Ticket = {
  "agent": "bot",
  "home": "demo/live",
  "key": "k001",
  "kind": "verify",
  "token": 7
};

export const example3: Upstream = {
  "anchors": "7",
  "status": 200,
  "tokens_in": "5",
  "tokens_out": "6"
};

export const example4: Concluded = {
  "counted": true,
  "observe": {
    "agent": "bot",
    "home": "demo/live",
    "key": "k001",
    "kind": "verify",
    "observed": {
      "anchors": 0,
      "tokens_in": 5,
      "tokens_out": 0
    }
  },
  "restless": "demo/live"
};

export const example5: Settings = {
  "bill": "",
  "continent": "",
  "counters": "",
  "key_secrets": "",
  "metrics_token": "",
  "redis_accept_loss": "",
  "redis_replicas": "",
  "redis_url": "",
  "region": "",
  "routes": "",
  "shadow": "",
  "signing_keys": "",
  "sub_homes": ""
};

export const example6: Answers = {
  "count": 3,
  "path": "/v1/check",
  "status": 200
};
