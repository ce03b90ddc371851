/** When a direct connection may send: as the miner's owner allows, and as all connections together leave room on the line. */
import type { MessageKind } from "../../protocol/frames.ts";
import type { Pacing } from "../frame-link.ts";
import type { ByteBudget } from "../traffic/byte-budget.ts";
import type { CountedSocket } from "../traffic/traffic.ts";
import { wireBytesOf } from "./datagram-bytes.ts";
import type { UplinkLane } from "./uplink-lane.ts";
import type { UplinkWindow } from "./uplink-window.ts";

/** What a connection needs of the miner's traffic; `Traffic` has it. */
export interface ConnectionTraffic extends Pick<Pacing, "chunkBytes" | "maxBufferedBytes"> {
  readonly upload: ByteBudget;
  readonly download: ByteBudget;
  watch(socket: CountedSocket): void;
  wroteFrame(kind: MessageKind, bytes: number): void;
  framesWait(): void;
}

export function pacingOf(traffic: ConnectionTraffic, uplink: UplinkWindow, lane: UplinkLane): Pacing {
  return {
    get chunkBytes() {
      return Math.min(traffic.chunkBytes, uplink.chunkBytes);
    },
    get maxBufferedBytes() {
      return traffic.maxBufferedBytes;
    },
    upload: {
      get isOpen() {
        return traffic.upload.isOpen && uplink.isOpen(lane);
      },
      whenOpen: (urgency, action) => {
        if (!traffic.upload.isOpen) return traffic.upload.whenOpen(urgency, action);
        traffic.framesWait();
        return uplink.whenOpen(lane, action);
      },
    },
    wrote: (bytes, _waited, kind) => {
      uplink.sends(lane, bytes);
      traffic.wroteFrame(kind, bytes);
      const { along, against } = wireBytesOf(bytes);
      traffic.upload.spend(along);
      traffic.download.spend(against);
    },
  };
}
