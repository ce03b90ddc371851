import type { ReactNode } from "react";
import { Explained } from "./explained.tsx";

export interface Fact {
  readonly text: readonly [string, string];
  readonly value: ReactNode;
  /** Runs over the whole width, below its name: for what is longer than a figure. */
  readonly long?: boolean;
}

/** Names and values, one under the other. */
export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl className="facts">
      {facts.map(({ text, value, long }) => (
        <div key={text[0]} className={long ? "fact long" : "fact"}>
          <dt>
            <Explained text={text} />
          </dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
