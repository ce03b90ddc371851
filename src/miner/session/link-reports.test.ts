import { beforeEach, describe, expect, it } from "vitest";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { type LinkReport, unmeasuredLink } from "../../protocol/link-report.ts";
import { FakeClock } from "./fake-clock.ts";
import { LinkReports } from "./link-reports.ts";

describe("what the network is told of a link", () => {
  let clock: FakeClock;
  let measured: LinkReport;
  let sent: ClientMessage[];
  let reports: LinkReports;

  beforeEach(() => {
    clock = new FakeClock();
    measured = unmeasuredLink;
    sent = [];
    reports = new LinkReports({ clock, measure: () => measured, send: (message) => sent.push(message) > 0 });
    reports.opened();
  });

  it("is nothing as long as nothing is known, and then what is, every ten seconds at most", () => {
    clock.advance(60_000);
    expect(sent).toEqual([]);
    measured = { ...unmeasuredLink, roundTripMs: 40 };
    clock.advance(10_000);
    measured = { upBytesPerSecond: 2.5e6, downBytesPerSecond: 12.5e6, roundTripMs: 40 };
    clock.advance(9_999);
    expect(sent).toEqual([{ type: "link", ...unmeasuredLink, roundTripMs: 40 }]);
    clock.advance(1);
    expect(sent[1]).toEqual({ type: "link", ...measured });
  });

  it("is told again when it changed by more than a fifth, and to a new session", () => {
    measured = { ...unmeasuredLink, upBytesPerSecond: 2.5e6 };
    clock.advance(10_000);
    measured = { ...measured, upBytesPerSecond: 2.2e6 };
    clock.advance(10_000);
    expect(sent).toHaveLength(1);
    measured = { ...measured, upBytesPerSecond: 2e6 };
    clock.advance(10_000);
    expect(sent).toHaveLength(2);
    reports.lost();
    clock.advance(60_000);
    expect(sent).toHaveLength(2);
    reports.opened();
    expect(sent).toHaveLength(3);
  });

  it("is not taken back because nothing has shown it of late", () => {
    measured = { ...unmeasuredLink, upBytesPerSecond: 2.5e6 };
    clock.advance(10_000);
    measured = unmeasuredLink;
    clock.advance(60_000);
    expect(sent).toHaveLength(1);
  });
});
