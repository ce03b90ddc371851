/**
 * home-links SEED CONTROL UP:DOWN:DELAY:JITTER:LOSS:QUEUE …
 *
 * Emulates people's homes: for each argument after the first two a network namespace behind a line of its own, and one more, the first,
 * that has no limits: a server. CONTROL is TCP's congestion control in all of them, `default` what the system has. Rates are in bits per second (0: none), times in microseconds and for one way, the loss in packets per million.
 * Prints `ready FD …`: whoever may can enter them as /proc/PID/fd/FD. On `read` it prints a line of counters: bytes, packets, lost and
 * dropped packets of each home's way up, and again down. All is gone when this process ends, which it does when its input does.
 *
 * Linux only, as root. A TUN device in each namespace leads here; packets are moved on every millisecond while there are any.
 */
#include <poll.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "link.h"
#include "namespaces.h"
#include "packets.h"

namespace homes {
namespace {

constexpr Nanoseconds kTick = 1'000'000;
constexpr Nanoseconds kNanosecondsPerMicrosecond = 1000;
/** 198.18.0.0/16: set aside for such tests by RFC 2544. */
constexpr uint32_t kNetwork = 198u << 24 | 18u << 16, kNetmask = 0xffff0000;
constexpr uint32_t kFirstHome = 1 << 8 | 1;
constexpr size_t kMostHomes = 200;
constexpr LinkOptions kUnlimited{0, 0, 0, 0, 1'000'000'000};

struct Node {
  Namespace space;
  Link up, down;
};

Nanoseconds now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000ll + time.tv_nsec;
}

class Emulation {
 public:
  explicit Emulation(std::string congestionControl) : congestionControl_(std::move(congestionControl)) {}

  void add(const LinkOptions& up, const LinkOptions& down, uint64_t seed) {
    const auto index = static_cast<uint32_t>(nodes_.size());
    const uint32_t address = kNetwork | (index == 0 ? 1 : kFirstHome + index - 1);
    const uint64_t links = seed * 1000 + 2 * index;
    nodes_.push_back({createNamespace(address, kNetmask, congestionControl_), Link(up, links), Link(down, links + 1)});
  }

  void announce() const {
    std::printf("ready");
    for (const Node& node : nodes_) std::printf(" %d", node.space.descriptor);
    std::printf("\n");
    std::fflush(stdout);
  }

  /** Until the input ends. */
  void run() {
    std::vector<pollfd> descriptors{{STDIN_FILENO, POLLIN, 0}};
    for (const Node& node : nodes_) descriptors.push_back({node.space.tun, POLLIN, 0});
    for (;;) {
      const bool isQuiet = moveOn();
      // While packets travel, all that came since the last look is taken at once; else the first one wakes.
      const timespec tick{0, kTick};
      ppoll(descriptors.data(), isQuiet ? descriptors.size() : 1, isQuiet ? nullptr : &tick, nullptr);
      if (descriptors[0].revents != 0 && !obey()) return;
    }
  }

 private:
  /** True when nothing travels. */
  bool moveOn() {
    const Nanoseconds time = now();
    for (size_t from = 0; from < nodes_.size(); from++) receive(from, time);
    bool isQuiet = true;
    for (Node& node : nodes_) {
      node.up.deliver(time, [&](Travelling arrived) {
        const size_t to = arrived.destination;
        nodes_[to].down.send(std::move(arrived.packet), to, arrived.arrival);
      });
    }
    for (Node& node : nodes_) {
      node.down.deliver(time, [&](const Travelling& arrived) { hand(node, arrived.packet); });
      isQuiet = isQuiet && node.up.isEmpty() && node.down.isEmpty();
    }
    return isQuiet;
  }

  /** All that a node has sent since the last look. */
  void receive(size_t from, Nanoseconds time) {
    for (;;) {
      const ssize_t length = read(nodes_[from].space.tun, buffer_, sizeof buffer_);
      if (length <= 0) return;
      const auto bytes = static_cast<size_t>(length);
      const auto shape = shapeOf(buffer_, bytes);
      const size_t to = shape ? nodeAt(shape->destination) : nodes_.size();
      if (to == nodes_.size()) continue;
      const uint32_t most = std::min(nodes_[from].up.mostSegments(), nodes_[to].down.mostSegments());
      if (shape->segments <= most) nodes_[from].up.send(copyOf(buffer_, bytes, *shape), to, time);
      else
        for (uint32_t first = 0; first < shape->segments; first += most)
          nodes_[from].up.send(cut(buffer_, *shape, first, std::min(most, shape->segments - first)), to, time);
    }
  }

  /** What a full receive buffer refuses is lost, as on any network. */
  void hand(const Node& node, const Packet& packet) const {
    if (write(node.space.tun, packet.bytes.get(), packet.length) < 0 && errno == EINVAL)
      throw std::runtime_error("a packet was malformed on its way");
  }

  size_t nodeAt(uint32_t address) const {
    const uint32_t host = address & ~kNetmask;
    if ((address & kNetmask) != kNetwork) return nodes_.size();
    const size_t index = host == 1 ? 0 : static_cast<size_t>(host) - kFirstHome + 1;
    return host == 1 || host >= kFirstHome ? std::min(index, nodes_.size()) : nodes_.size();
  }

  /** False at the input's end. One command a line; the only one there is has four letters. */
  bool obey() {
    char command[256];
    const ssize_t length = read(STDIN_FILENO, command, sizeof command);
    if (length <= 0) return false;
    for (ssize_t index = 0; index < length; index++)
      if (command[index] == '\n') report();
    return true;
  }

  void report() const {
    for (size_t home = 1; home < nodes_.size(); home++)
      for (const Link* link : {&nodes_[home].up, &nodes_[home].down}) {
        const LinkCounters& sum = link->counters();
        std::printf("%s%llu %llu %llu %llu", home == 1 && link == &nodes_[home].up ? "" : " ", number(sum.bytes),
                    number(sum.packets), number(sum.lostPackets), number(sum.droppedPackets));
      }
    std::printf("\n");
    std::fflush(stdout);
  }

  static unsigned long long number(uint64_t value) { return value; }

  std::string congestionControl_;
  std::deque<Node> nodes_;
  uint8_t buffer_[kMostPacketBytes];
};

/** UP:DOWN:DELAY:JITTER:LOSS:QUEUE. Each way takes the delay and the jitter, and loses its share. */
std::pair<LinkOptions, LinkOptions> parseHome(const char* text) {
  unsigned long long up, down, delay, jitter, lost, queue;
  char rest;
  if (std::sscanf(text, "%llu:%llu:%llu:%llu:%llu:%llu%c", &up, &down, &delay, &jitter, &lost, &queue, &rest) != 6)
    throw std::runtime_error(std::string("not a home: ") + text);
  const auto nanoseconds = [](unsigned long long value) {
    return static_cast<Nanoseconds>(value) * kNanosecondsPerMicrosecond;
  };
  const auto link = [&](unsigned long long rate) {
    return LinkOptions{rate, nanoseconds(delay), nanoseconds(jitter), lost, nanoseconds(queue)};
  };
  return {link(up), link(down)};
}

int main(int count, char** arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  constexpr int firstHome = 3;
  if (count <= firstHome || count - firstHome > static_cast<int>(kMostHomes))
    throw std::runtime_error("home-links SEED CONTROL HOME …, at most 200 homes");
  const uint64_t seed = std::strtoull(arguments[1], nullptr, 10);
  allowCongestionControl(arguments[2]);
  // Packets that are under way take memory, never the stack.
  auto emulation = std::make_unique<Emulation>(arguments[2]);
  emulation->add(kUnlimited, kUnlimited, seed);
  for (int index = firstHome; index < count; index++) {
    const auto [up, down] = parseHome(arguments[index]);
    emulation->add(up, down, seed);
  }
  emulation->announce();
  emulation->run();
  return 0;
}

}  // namespace
}  // namespace homes

int main(int count, char** arguments) {
  try {
    return homes::main(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
