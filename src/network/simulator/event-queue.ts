/** What will happen in virtual time, earliest first; at the same time, in the order in which it was planned. A binary heap. */
export class EventQueue<E> {
  readonly #heap: Planned<E>[] = [];
  #planned = 0;

  /** Of the earliest; null: nothing is planned. */
  get nextMs(): number | null {
    return this.#heap[0]?.atMs ?? null;
  }

  peek(): E | undefined {
    return this.#heap[0]?.event;
  }

  plan(atMs: number, event: E): void {
    const planned = { atMs, order: this.#planned++, event };
    let index = this.#heap.push(planned) - 1;
    for (;;) {
      const above = (index - 1) >> 1;
      const parent = this.#heap[above];
      if (index === 0 || parent === undefined || isBefore(parent, planned)) break;
      this.#heap[index] = parent;
      index = above;
    }
    this.#heap[index] = planned;
  }

  /** Takes the earliest out. */
  take(): E | undefined {
    const first = this.#heap[0];
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(last);
    return first?.event;
  }

  #sink(planned: Planned<E>): void {
    const heap = this.#heap;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const [a, b] = [heap[left], heap[left + 1]];
      const child = a !== undefined && b !== undefined && isBefore(b, a) ? left + 1 : left;
      const earliest = heap[child];
      if (earliest === undefined || isBefore(planned, earliest)) break;
      heap[index] = earliest;
      index = child;
    }
    heap[index] = planned;
  }
}

interface Planned<E> {
  readonly atMs: number;
  readonly order: number;
  readonly event: E;
}

function isBefore(a: Planned<unknown>, b: Planned<unknown>): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
