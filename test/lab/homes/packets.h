// Packets as a TUN device with offloads passes them: a virtio header, then IPv4. One may stand for many TCP segments ("super-packet").
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

namespace homes {

/** struct virtio_net_hdr; its own header file is not C++. */
struct VirtioHeader {
  uint8_t flags;
  uint8_t segmentation;
  uint16_t headersBytes, segmentBytes, checksumStart, checksumOffset;
};
/** The values of `segmentation`, and what may be set beside one. */
constexpr uint8_t kNoSegmentation = 0, kTcpOverIpv4 = 1, kWithCongestionNotices = 0x80;
constexpr size_t kVirtioHeaderBytes = sizeof(VirtioHeader);
static_assert(kVirtioHeaderBytes == 10);
constexpr size_t kSmallestIpHeaderBytes = 20;
constexpr size_t kMostPacketBytes = kVirtioHeaderBytes + 65535;

struct Packet {
  std::unique_ptr<uint8_t[]> bytes;
  size_t length;
  /** That it would take as packets of one segment each, without a link layer. */
  size_t wireBytes;
  uint32_t segments;
};

inline uint16_t readBig16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
inline uint32_t readBig32(const uint8_t* at) { return static_cast<uint32_t>(readBig16(at)) << 16 | readBig16(at + 2); }
inline void writeBig16(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}
inline void writeBig32(uint8_t* at, uint32_t value) {
  writeBig16(at, static_cast<uint16_t>(value >> 16));
  writeBig16(at + 2, static_cast<uint16_t>(value));
}

/** Where the parts of a packet lie, counted from the IP header. */
struct Shape {
  uint32_t destination;
  size_t ipHeaderBytes;
  /** IP and TCP headers of a super-packet; 0 for any other packet. */
  size_t headersBytes;
  size_t payloadBytes;
  size_t segmentBytes;
  uint32_t segments;
};

/** Nothing for what is not IPv4. */
inline std::optional<Shape> shapeOf(const uint8_t* bytes, size_t length) {
  if (length < kVirtioHeaderBytes + kSmallestIpHeaderBytes) return std::nullopt;
  VirtioHeader header;
  std::memcpy(&header, bytes, sizeof header);
  const uint8_t* ip = bytes + kVirtioHeaderBytes;
  const size_t ipBytes = length - kVirtioHeaderBytes;
  if (ip[0] >> 4 != 4) return std::nullopt;
  Shape shape{readBig32(ip + 16), static_cast<size_t>(ip[0] & 15) * 4, 0, ipBytes, ipBytes, 1};
  const bool isSuper = (header.segmentation & ~kWithCongestionNotices) == kTcpOverIpv4 && header.segmentBytes > 0;
  if (!isSuper || ipBytes < shape.ipHeaderBytes + 20) return shape;
  const size_t tcpHeaderBytes = static_cast<size_t>(ip[shape.ipHeaderBytes + 12] >> 4) * 4;
  shape.headersBytes = shape.ipHeaderBytes + tcpHeaderBytes;
  if (ipBytes <= shape.headersBytes) return std::nullopt;
  shape.payloadBytes = ipBytes - shape.headersBytes;
  shape.segmentBytes = header.segmentBytes;
  shape.segments = static_cast<uint32_t>((shape.payloadBytes + header.segmentBytes - 1) / header.segmentBytes);
  return shape;
}

inline uint32_t onesComplementSum(const uint8_t* bytes, size_t length, uint32_t sum) {
  for (size_t index = 0; index + 1 < length; index += 2) sum += readBig16(bytes + index);
  return sum;
}

inline uint16_t folded(uint32_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

/** The IP header's checksum, and in the TCP header the pseudo-header's sum, from which the receiving kernel goes on. RFC 9293, 3.1. */
inline void completeChecksums(uint8_t* ip, const Shape& shape, size_t ipBytes) {
  writeBig16(ip + 10, 0);
  writeBig16(ip + 10, static_cast<uint16_t>(~folded(onesComplementSum(ip, shape.ipHeaderBytes, 0))));
  const auto tcpBytes = static_cast<uint32_t>(ipBytes - shape.ipHeaderBytes);
  constexpr uint32_t tcpProtocol = 6;
  writeBig16(ip + shape.ipHeaderBytes + 16, folded(onesComplementSum(ip + 12, 8, tcpProtocol + tcpBytes)));
}

inline Packet copyOf(const uint8_t* bytes, size_t length, const Shape& shape) {
  auto copy = std::make_unique<uint8_t[]>(length);
  std::memcpy(copy.get(), bytes, length);
  const size_t ipBytes = length - kVirtioHeaderBytes;
  return {std::move(copy), length, ipBytes + (shape.segments - 1) * shape.headersBytes, shape.segments};
}

/** `count` segments of a super-packet from segment `first` on, as a packet of their own. */
inline Packet cut(const uint8_t* bytes, const Shape& shape, uint32_t first, uint32_t count) {
  constexpr uint8_t finAndPush = 0x09, congestionWindowReduced = 0x80;
  const size_t offset = first * shape.segmentBytes;
  const bool isLast = first + count >= shape.segments;
  const size_t payloadBytes = isLast ? shape.payloadBytes - offset : count * shape.segmentBytes;
  const size_t ipBytes = shape.headersBytes + payloadBytes;
  auto copy = std::make_unique<uint8_t[]>(kVirtioHeaderBytes + ipBytes);
  uint8_t* ip = copy.get() + kVirtioHeaderBytes;
  std::memcpy(copy.get(), bytes, kVirtioHeaderBytes + shape.headersBytes);
  std::memcpy(ip + shape.headersBytes, bytes + kVirtioHeaderBytes + shape.headersBytes + offset, payloadBytes);
  if (count == 1) {
    VirtioHeader header;
    std::memcpy(&header, copy.get(), sizeof header);
    header.segmentation = kNoSegmentation;
    header.segmentBytes = 0;
    std::memcpy(copy.get(), &header, sizeof header);
  }
  writeBig16(ip + 2, static_cast<uint16_t>(ipBytes));
  writeBig16(ip + 4, static_cast<uint16_t>(readBig16(ip + 4) + first));
  uint8_t* tcp = ip + shape.ipHeaderBytes;
  writeBig32(tcp + 4, readBig32(tcp + 4) + static_cast<uint32_t>(offset));
  if (!isLast) tcp[13] &= static_cast<uint8_t>(~finAndPush);
  if (first > 0) tcp[13] &= static_cast<uint8_t>(~congestionWindowReduced);
  completeChecksums(ip, shape, ipBytes);
  return {std::move(copy), kVirtioHeaderBytes + ipBytes, payloadBytes + count * shape.headersBytes, count};
}

}  // namespace homes
