// Days, or as many of them together as give few points.

/** The sums of as few neighbours as give at most so many. */
export function together(values: number[], most: number): number[] {
  const each = Math.max(1, Math.ceil(values.length / most));
  const sums = new Array<number>(Math.ceil(values.length / each)).fill(0);
  values.forEach((value, index) => {
    const at = Math.floor(index / each);
    sums[at] = (sums[at] ?? 0) + value;
  });
  return sums;
}
