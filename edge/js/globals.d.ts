// What the platform has, and its types do not tell.

interface ErrorConstructor {
  /** How many functions V8 lists of a stack. */
  stackTraceLimit: number;
}
