/** What is kept for those who do not read takes memory: little of it is spent on who has no place in an epoch. */
import type { Household } from "./address-limits.ts";

/** For all guests of an address together: each of them may be sent the whole history of the network's runs when it comes. */
const mostUnreadBytes = 64 << 20;

interface Reader {
  readonly household: Household;
  readonly isGuest: boolean;
  readonly unsentBytes: number;
}

/** Guests that have to go, those with the most unread bytes, until the others of their address have few enough. */
export function slowReaders<R extends Reader>(sessions: Iterable<R>): readonly R[] {
  const guests = [...sessions].filter(({ isGuest, unsentBytes }) => isGuest && unsentBytes > 0);
  const households = Map.groupBy(guests, ({ household }) => household).values();
  return [...households].flatMap((readers) => {
    const slowestFirst = readers.toSorted((a, b) => b.unsentBytes - a.unsentBytes);
    let unreadBytes = readers.reduce((sum, reader) => sum + reader.unsentBytes, 0);
    return slowestFirst.filter(({ unsentBytes }) => {
      if (unreadBytes <= mostUnreadBytes) return false;
      unreadBytes -= unsentBytes;
      return true;
    });
  });
}
