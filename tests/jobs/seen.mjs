// What a client saw of a stream of numbers, and how long its pauses were.

export class Numbers {
  seen = new Set();
  first = null;
  last = null;
  doubled = 0;
  reordered = 0;

  take(n) {
    if (this.seen.has(n)) this.doubled += 1;
    else if (this.last !== null && n < this.last) this.reordered += 1;
    this.seen.add(n);
    this.first ??= n;
    this.last = Math.max(this.last ?? n, n);
  }

  // Numbers between the first that came and the highest that did not come are gaps.
  report() {
    const { first, last, doubled, reordered, seen } = this;
    const from = Math.min(...seen);
    return { received: seen.size, first, last, doubled, reordered, gaps: seen.size ? last - from + 1 - seen.size : 0 };
  }
}

// Of all pauses of all clients, in milliseconds.
export function summary(pauses) {
  const sorted = [...pauses].sort((a, b) => a - b);
  const share = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return { count: sorted.length, p50: share(0.5), p99: share(0.99), max: sorted.at(-1) ?? 0 };
}
