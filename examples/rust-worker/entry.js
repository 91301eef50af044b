// Hands requests to Rust. `worker-build` makes such a file too; this one needs no tool.
import * as rust from './worker.js';

export default { fetch: (request, env, ctx) => rust.fetch(request, env, ctx) };
