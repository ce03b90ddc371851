/**
 * What UDX, UDP and IP add to the bytes of a direct connection. Its own packets and their headers UDX counts; those of UDP and IPv4 come
 * on top. Before a packet is sent there is only an estimate, for what may be sent at all. Every packet is acknowledged by one (counted
 * with udx-native 1.21: 6,972 packets, 6,974 acknowledgements).
 */
import type { RawStream } from "hyperdht";
import type { CountedSocket } from "../traffic/traffic.ts";

/** IPv4 20, UDP 8. */
const headerBytes = 28;
export const udxHeaderBytes = 20;
const packetPayloadBytes = 1500 - headerBytes - udxHeaderBytes;

/** What so many bytes take of their own direction, and what acknowledging them takes of the other one. */
export function wireBytesOf(bytes: number): { readonly along: number; readonly against: number } {
  const against = Math.ceil(bytes / packetPayloadBytes) * (headerBytes + udxHeaderBytes);
  return { along: bytes + against, against };
}

/** Of all that a stream has sent so far, repetitions and acknowledgements included, and what a router had no room for. */
export function wireBytesSent(stream: Pick<RawStream, "bytesTransmitted" | "packetsTransmitted">): number {
  return stream.bytesTransmitted + headerBytes * stream.packetsTransmitted;
}

/** A stream as `Traffic` counts it: on the wire, repetitions and all. */
export function countedDatagrams(stream: RawStream, whenClosed: (closed: () => void) => void): CountedSocket {
  return {
    get bytesRead() {
      return stream.bytesReceived + headerBytes * stream.packetsReceived;
    },
    get bytesWritten() {
      return wireBytesSent(stream);
    },
    writableLength: 0,
    once: (_, closed) => whenClosed(closed),
  };
}
