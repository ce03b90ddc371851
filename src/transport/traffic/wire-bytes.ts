/**
 * What TCP and IP add to the bytes of a socket: a program can count only what it hands over, while a data plan and a home's line count
 * packets. The model: an MTU of 1500 bytes, IPv4 and TCP with timestamps (RFC 7323), and one acknowledgement for every second segment
 * (RFC 5681, section 4.2). Not modelled are retransmissions, the packets that open and close a connection, and what TLS adds (22 bytes
 * to a record of 16 KiB).
 */

/** IPv4 20, TCP 20, timestamps 12. */
const headerBytes = 52;
const segmentPayloadBytes = 1500 - headerBytes;
const segmentsPerAcknowledgement = 2;

/** Segments that one write, or one arrival, of `bytes` takes. */
export function segmentsOf(bytes: number): number {
  return Math.ceil(bytes / segmentPayloadBytes);
}

/** What one write, or one arrival, takes of its own direction. */
export function wireBytesOf(bytes: number): number {
  return bytes + segmentsOf(bytes) * headerBytes;
}

/** What acknowledging it takes of the other direction. */
export function acknowledgementBytesOf(bytes: number): number {
  return acknowledgementBytes(segmentsOf(bytes));
}

export interface DirectionCount {
  readonly bytes: number;
  readonly segments: number;
}

/** Of one direction, when so much went along it and so much along the other. */
export function wireBytes(along: DirectionCount, against: DirectionCount): number {
  return Math.round(along.bytes + along.segments * headerBytes + acknowledgementBytes(against.segments));
}

function acknowledgementBytes(segments: number): number {
  return (segments / segmentsPerAcknowledgement) * headerBytes;
}
