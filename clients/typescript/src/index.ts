export { aggregator, edge, taken, type Aggregator, type ClientOptions, type Edge } from "./client.js";
export { denial, Gate, type Check, type Decision, type GateOptions, type Kind, type Question } from "./gate.js";
export { MeterError, type Problem } from "./problem.js";
export { retrying, type RetryOptions } from "./retry.js";
