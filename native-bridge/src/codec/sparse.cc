// The largest numbers of each chunk: `src/compute/codec/portable/sparse.ts` and `sparse-layout.ts`.

#include "codec.h"
#include "noise.h"

namespace tah::TAH_ISA {
namespace {

constexpr int kLevelRounds = 2;

class BitWriter {
 public:
  explicit BitWriter(uint8_t* bytes) : next_(bytes) {}

  /** Up to 16 bits. */
  void write(uint32_t value, unsigned count) {
    window_ |= uint64_t(value & ((1u << count) - 1)) << filled_;
    filled_ += count;
    if (filled_ < 32) return;
    std::memcpy(next_, &window_, 4);
    next_ += 4;
    window_ >>= 32;
    filled_ -= 32;
  }

  void writeUnary(uint32_t value) {
    for (; value >= 16; value -= 16) write(0xffff, 16);
    write((1u << value) - 1, value + 1);
  }

  /** Writes what is left; the byte behind it. */
  uint8_t* finish() {
    const size_t bytes = (filled_ + 7) / 8;
    std::memcpy(next_, &window_, bytes);
    return next_ + bytes;
  }

 private:
  uint8_t* next_;
  uint64_t window_ = 0;
  unsigned filled_ = 0;
};

/** Behind the last byte it reads zeros. */
class BitReader {
 public:
  BitReader(const uint8_t* bytes, size_t from, size_t end) : bytes_(bytes), end_(end), position_(8 * from) {}

  /** Up to 16 bits. */
  uint32_t read(unsigned count) {
    const uint32_t value = window() & ((1u << count) - 1);
    position_ += count;
    return value;
  }

  /** Set bits up to one that is not, or to `most`. */
  size_t readUnary(size_t most) {
    size_t value = 0;
    while (value < most) {
      const uint32_t bits = window();
      for (unsigned i = 0; i < 24 && value < most; i++) {
        position_++;
        if ((bits >> i & 1) == 0) return value;
        value++;
      }
    }
    return value;
  }

  bool isPadded() const {
    const size_t byte = position_ / 8;
    return position_ % 8 == 0 || byte >= end_ || bytes_[byte] >> position_ % 8 == 0;
  }

  size_t end() const { return (position_ + 7) / 8; }

 private:
  /** At least the next 24 bits. */
  uint32_t window() const {
    const size_t byte = position_ / 8;
    uint32_t bits = 0;
    if (byte + 4 <= end_)
      std::memcpy(&bits, bytes_ + byte, 4);
    else
      for (size_t i = byte; i < end_; i++) bits |= uint32_t(bytes_[i]) << (8 * (i - byte));
    return bits >> position_ % 8;
  }

  const uint8_t* bytes_;
  size_t end_;
  size_t position_;
};

/** Counts in four tables, since equal digits in a row would wait for each other, and looks from the top for the `kept`-th. */
template <unsigned bits>
uint32_t digitOf(const uint32_t* magnitudes, size_t length, unsigned shift, size_t kept, size_t& larger) {
  uint16_t counts[4][1 << bits];
  std::memset(counts, 0, sizeof counts);
  constexpr uint32_t mask = (1 << bits) - 1;
  for (size_t i = 0; i < length; i++) counts[i % 4][magnitudes[i] >> shift & mask]++;
  for (uint32_t digit = mask;; digit--) {
    const size_t here = size_t(counts[0][digit]) + counts[1][digit] + counts[2][digit] + counts[3][digit];
    if (larger + here >= kept) return digit;
    larger += here;
  }
}

/** Moves those with the digit to `to`, which may be `from`; their number. */
size_t withDigit(uint32_t* to, const uint32_t* from, size_t length, unsigned shift, uint32_t prefix) {
  size_t count = 0;
  for (size_t i = 0; i < length; i++) {
    const uint32_t magnitude = from[i];
    to[count] = magnitude;
    count += magnitude >> shift == prefix;
  }
  return count;
}

/** The places, ascending, of the largest magnitudes; false where one is not finite. */
bool findLargest(uint16_t* places, const float* values, size_t length, size_t kept) {
  uint32_t magnitudes[kSparseChunk + 1], candidates[kSparseChunk + 1];
  uint32_t peak = 0;
  for (size_t i = 0; i < length; i++) {
    magnitudes[i] = bitsOf(values[i]) & kMagnitude;
    peak = magnitudes[i] > peak ? magnitudes[i] : peak;
  }
  if (peak > kLargestPeak) return false;
  size_t larger = 0;
  uint32_t smallest = digitOf<11>(magnitudes, length, 20, kept, larger);
  size_t count = withDigit(candidates, magnitudes, length, 20, smallest);
  smallest = smallest << 10 | digitOf<10>(candidates, count, 10, kept, larger);
  count = withDigit(candidates, candidates, count, 10, smallest);
  smallest = smallest << 10 | digitOf<10>(candidates, count, 0, kept, larger);

  size_t equal = kept - larger;
  size_t found = 0;
  for (size_t i = 0; found < kept; i++) {
    places[found] = uint16_t(i);
    found += magnitudes[i] > smallest;
    if (magnitudes[i] == smallest && equal > 0) {
      equal--;
      found++;
    }
  }
  return true;
}

struct TwoLevels {
  uint16_t low, high;
  double split;
};

double magnitudeOf(float value) { return floatOf(bitsOf(value) & kMagnitude); }

TwoLevels levelsOf(const float* values, const uint16_t* places, size_t kept) {
  double split = 0;
  for (size_t i = 0; i < kept; i++) split += magnitudeOf(values[places[i]]);
  split /= double(kept);
  for (int round = 1;; round++) {
    double lowSum = 0, highSum = 0;
    size_t highCount = 0;
    for (size_t i = 0; i < kept; i++) {
      const double magnitude = magnitudeOf(values[places[i]]);
      if (magnitude > split) {
        highSum += magnitude;
        highCount++;
      } else {
        lowSum += magnitude;
      }
    }
    const double low = lowSum / double(highCount == kept ? 1 : kept - highCount);
    const double high = highSum / double(highCount == 0 ? 1 : highCount);
    if (round == kLevelRounds) return {nearestBrainFloat(bitsOf(float(low))), nearestBrainFloat(bitsOf(float(high))), split};
    split = (low + high) / 2;
  }
}

}  // namespace

size_t encodeSparse(uint8_t* body, const float* values, size_t length, size_t kept) {
  uint16_t places[kSparseChunk + 1];
  uint8_t* end = body;
  for (size_t from = 0; from < length; from += kSparseChunk) {
    const float* chunk = values + from;
    const size_t chunkLength = length - from < kSparseChunk ? length - from : kSparseChunk;
    const SparseLayout layout = sparseLayout(kept, chunkLength);
    if (!findLargest(places, chunk, chunkLength, layout.kept)) return 0;
    const TwoLevels levels = levelsOf(chunk, places, layout.kept);
    writeShort(end, levels.low);
    writeShort(end + 2, levels.high);
    BitWriter writer(end + kSparseLevelBytes);
    uint32_t next = 0;
    for (size_t i = 0; i < layout.kept; i++) {
      const uint32_t gap = places[i] - next;
      const float value = chunk[places[i]];
      writer.writeUnary(gap >> layout.riceBits);
      writer.write(gap, layout.riceBits);
      writer.write((value < 0 ? 1 : 0) | (magnitudeOf(value) > levels.split ? 2 : 0), 2);
      next = places[i] + 1;
    }
    end = writer.finish();
  }
  return size_t(end - body);
}

bool decodeSparse(float* values, const uint8_t* body, size_t bodyBytes, size_t length, size_t kept) {
  std::memset(values, 0, length * sizeof(float));
  size_t end = 0;
  for (size_t from = 0; from < length; from += kSparseChunk) {
    if (end + kSparseLevelBytes > bodyBytes) return false;
    const uint16_t low = readShort(body + end), high = readShort(body + end + 2);
    if (low > kLargestScale || high > kLargestScale) return false;
    const float levels[] = {fromBrainFloat(low), -fromBrainFloat(low), fromBrainFloat(high), -fromBrainFloat(high)};
    float* chunk = values + from;
    const size_t chunkLength = length - from < kSparseChunk ? length - from : kSparseChunk;
    const SparseLayout layout = sparseLayout(kept, chunkLength);
    BitReader reader(body, end + kSparseLevelBytes, bodyBytes);
    size_t next = 0;
    for (size_t i = 0; i < layout.kept; i++) {
      const size_t quotient = reader.readUnary(chunkLength);
      const size_t place = next + (quotient << layout.riceBits) + reader.read(layout.riceBits);
      if (place >= chunkLength) return false;
      chunk[place] = levels[reader.read(2)];
      next = place + 1;
    }
    if (!reader.isPadded()) return false;
    end = reader.end();
  }
  return end == bodyBytes;
}

}  // namespace tah::TAH_ISA
