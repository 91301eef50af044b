# How workerd runs the baselines: one configuration for each, named on its command line.
#
#   workerd serve baselines.capnp headers --socket-addr http=127.0.0.1:9000
#
# Those with objects also want --directory-path objects=<folder>; the addresses of Redis and the simulated way to
# an object come from the environment: REDIS_ADDRESS, HOME_DELAY_MS.

using Workerd = import "/workerd/workerd.capnp";

const date :Text = "2026-10-01";
const http :Workerd.Socket = (name = "http", address = "127.0.0.1:0", http = (), service = "worker");
const answerModule :Workerd.Worker.Module = (name = "answer.js", esModule = embed "answer.js");
const redisModule :Workerd.Worker.Module = (name = "redis.js", esModule = embed "redis.js");
# An object that is called all the time stays; one that waits for its next round should stay as well.
const counter :Workerd.Worker.DurableObjectNamespace =
  (className = "Counter", uniqueKey = "counter", enableSql = true, preventEviction = true);
const counterBinding :Workerd.Worker.Binding = (name = "COUNTER", durableObjectNamespace = "Counter");
const objects :Workerd.Service = (name = "objects", disk = (path = "objects", writable = true));
const delayBinding :Workerd.Worker.Binding = (name = "HOME_DELAY_MS", fromEnvironment = "HOME_DELAY_MS");
const redisBinding :Workerd.Worker.Binding = (name = "REDIS_ADDRESS", fromEnvironment = "REDIS_ADDRESS");
# Workers may not connect to private addresses unless the network says so.
const internet :Workerd.Service = (name = "internet", network = (allow = ["local"]));

const ok :Workerd.Config = (
  services = [(name = "worker", worker = (
    compatibilityDate = .date,
    modules = [(name = "ok.js", esModule = embed "ok.js")],
  ))],
  sockets = [.http],
);

const headers :Workerd.Config = (
  services = [(name = "worker", worker = (
    compatibilityDate = .date,
    modules = [(name = "headers.js", esModule = embed "headers.js"), .answerModule],
  ))],
  sockets = [.http],
);

const body :Workerd.Config = (
  services = [(name = "worker", worker = (
    compatibilityDate = .date,
    modules = [(name = "body.js", esModule = embed "body.js"), .answerModule],
  ))],
  sockets = [.http],
);

const forward :Workerd.Config = (
  services = [
    (name = "worker", worker = (
      compatibilityDate = .date,
      modules = [(name = "forward.js", esModule = embed "forward.js"), .answerModule],
      bindings = [(name = "UPSTREAM", service = "upstream")],
    )),
    (name = "upstream", worker = .upstream),
  ],
  sockets = [.http],
);

const objectSql :Workerd.Config = (
  services = [
    (name = "worker", worker = (
      compatibilityDate = .date,
      modules = [(name = "object_sql.js", esModule = embed "object_sql.js"), .answerModule],
      bindings = [.counterBinding, .delayBinding],
      durableObjectNamespaces = [.counter],
      durableObjectStorage = (localDisk = "objects"),
    )),
    .objects,
  ],
  sockets = [.http],
);

const objectMemory :Workerd.Config = (
  services = [
    (name = "worker", worker = (
      compatibilityDate = .date,
      modules = [(name = "object_memory.js", esModule = embed "object_memory.js"), .answerModule],
      bindings = [.counterBinding, .delayBinding],
      durableObjectNamespaces = [.counter],
      durableObjectStorage = (localDisk = "objects"),
    )),
    .objects,
  ],
  sockets = [.http],
);

const redisConnect :Workerd.Config = (
  services = [
    (name = "worker", worker = (
      compatibilityDate = .date,
      modules = [
        (name = "redis_connect.js", esModule = embed "redis_connect.js"), .redisModule, .answerModule,
      ],
      bindings = [.redisBinding],
    )),
    .internet,
  ],
  sockets = [.http],
);

const redisObject :Workerd.Config = (
  services = [
    (name = "worker", worker = (
      compatibilityDate = .date,
      modules = [
        (name = "redis_object.js", esModule = embed "redis_object.js"), .redisModule, .answerModule,
      ],
      bindings = [.redisBinding, .counterBinding],
      durableObjectNamespaces = [.counter],
      durableObjectStorage = (localDisk = "objects"),
    )),
    .internet, .objects,
  ],
  sockets = [.http],
);

const upstream :Workerd.Worker = (
  compatibilityDate = .date,
  modules = [(name = "upstream.js", esModule = embed "upstream.js")],
);
