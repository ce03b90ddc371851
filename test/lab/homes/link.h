// One direction of a home's line: a queue in front of a rate, then the way there. Times are nanoseconds of the monotonic clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>

#include "packets.h"

namespace homes {

using Nanoseconds = int64_t;

struct LinkOptions {
  /** 0: no limit. */
  uint64_t bitsPerSecond;
  Nanoseconds delay;
  /** A packet takes up to so much longer; none overtakes another. */
  Nanoseconds jitter;
  /** Of a million packets, so many do not arrive. */
  uint64_t lostPerMillion;
  /** What would wait longer is dropped, as routers do that know nothing better. */
  Nanoseconds queue;
};

struct LinkCounters {
  /** That left the queue, whether they arrived or not. */
  uint64_t bytes = 0, packets = 0;
  uint64_t lostPackets = 0;
  /** For which the queue had no room. */
  uint64_t droppedPackets = 0;
};

/** SplitMix64: Steele 2014. */
class Lots {
 public:
  explicit Lots(uint64_t seed) : state_(seed) {}

  /** 0 … `limit` − 1; the bias of the remainder is beyond measuring. */
  uint64_t below(uint64_t limit) {
    uint64_t value = state_ += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return (value ^ value >> 31) % limit;
  }

 private:
  uint64_t state_;
};

struct Travelling {
  Nanoseconds arrival;
  /** Index of the node that it is for. */
  size_t destination;
  Packet packet;
};

class Link {
 public:
  Link(const LinkOptions& options, uint64_t seed) : options_(options), lots_(seed) {}

  /**
   * Segments that may travel as one packet: no more than pass within two milliseconds, and single ones where each may be lost by itself.
   * A million where nothing tells them apart.
   */
  uint32_t mostSegments() const {
    constexpr uint64_t bitsPerSegment = 1500 * 8, chunksPerSecond = 500, many = 1'000'000;
    if (options_.lostPerMillion > 0) return 1;
    if (options_.bitsPerSecond == 0) return many;
    return static_cast<uint32_t>(std::clamp<uint64_t>(options_.bitsPerSecond / chunksPerSecond / bitsPerSegment, 1, many));
  }

  void send(Packet packet, size_t destination, Nanoseconds now) {
    const Nanoseconds start = std::max(now, freeFrom_);
    if (start - now > options_.queue) {
      counters_.droppedPackets += packet.segments;
      return;
    }
    counters_.bytes += packet.wireBytes;
    counters_.packets += packet.segments;
    freeFrom_ = start + transmission(packet.wireBytes);
    if (options_.lostPerMillion > 0 && lots_.below(1'000'000) < options_.lostPerMillion) {
      counters_.lostPackets += packet.segments;
      return;
    }
    const Nanoseconds extra = options_.jitter > 0 ? static_cast<Nanoseconds>(lots_.below(options_.jitter)) : 0;
    lastArrival_ = std::max(lastArrival_, freeFrom_ + options_.delay + extra);
    travelling_.push_back({lastArrival_, destination, std::move(packet)});
  }

  bool isEmpty() const { return travelling_.empty(); }

  /** What has arrived by now is handed over, in order. */
  template <class Receive>
  void deliver(Nanoseconds now, const Receive& receive) {
    while (!travelling_.empty() && travelling_.front().arrival <= now) {
      Travelling arrived = std::move(travelling_.front());
      travelling_.pop_front();
      receive(std::move(arrived));
    }
  }

  const LinkCounters& counters() const { return counters_; }

 private:
  Nanoseconds transmission(size_t bytes) const {
    if (options_.bitsPerSecond == 0) return 0;
    return static_cast<Nanoseconds>(bytes * 8 * 1'000'000'000ull / options_.bitsPerSecond);
  }

  LinkOptions options_;
  Lots lots_;
  LinkCounters counters_;
  Nanoseconds freeFrom_ = 0;
  Nanoseconds lastArrival_ = 0;
  std::deque<Travelling> travelling_;
};

}  // namespace homes
