/**
 * What TCP and IP add to the bytes of a socket: a program can count only what it hands over, while a data plan and a home's line count
 * packets. The model: an MTU of 1500 bytes, IPv4 and TCP with timestamps (RFC 7323). What is sent is acknowledged at every second
 * segment (RFC 5681, section 4.2); what arrives likewise, but once for all that one read finds, as systems gather segments before they
 * look at them. Not modelled are retransmissions, the packets that open and close a connection, and what TLS adds (22 bytes to a
 * record of 16 KiB). `test/lab/homes/miner-traffic.test.ts` compares it with the counters of a line.
 */

/** IPv4 20, TCP 20, timestamps 12. */
const headerBytes = 52;
const segmentPayloadBytes = 1500 - headerBytes;
const segmentsPerAcknowledgement = 2;
const gatheredBytes = 8 << 10;

/** Of one direction. */
export interface PacketCount {
  readonly segments: number;
  /** That go the other way. */
  readonly acknowledgements: number;
}

/** What one write of so many bytes takes. */
export function packetsOfWrite(bytes: number): PacketCount {
  const segments = Math.ceil(bytes / segmentPayloadBytes);
  return { segments, acknowledgements: segments / segmentsPerAcknowledgement };
}

/**
 * Of a blob that is stored: the gateway lets what comes gather before it reads (`network/gateway/gathered-body.ts`), and its system
 * acknowledges what was read. That is every 4 to 16 KiB, as the lines of emulated homes count it.
 */
export function packetsOfUpload(bytes: number): PacketCount {
  const { segments, acknowledgements } = packetsOfWrite(bytes);
  return { segments, acknowledgements: Math.min(acknowledgements, bytes / gatheredBytes) };
}

/** What took so many bytes here, when one read finds them. */
export function packetsOfRead(bytes: number): PacketCount {
  const { segments, acknowledgements } = packetsOfWrite(bytes);
  return { segments, acknowledgements: Math.min(1, acknowledgements) };
}

/** What packets, next to their contents, take of their own direction, and what acknowledging them takes of the other one. */
export function headerBytesOf({ segments, acknowledgements }: PacketCount): {
  readonly along: number;
  readonly against: number;
} {
  return { along: segments * headerBytes, against: acknowledgements * headerBytes };
}
