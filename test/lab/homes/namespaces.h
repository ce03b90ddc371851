// Network namespaces, each with loopback and one TUN device. They live as long as this process, or a process within them, does.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

namespace homes {

struct Namespace {
  /** /proc/PID/fd/THIS is where others may enter it. */
  int descriptor;
  int tun;
  uint32_t address;
};

inline int checked(int result, const std::string& what) {
  if (result < 0) throw std::runtime_error(what + ": " + std::strerror(errno));
  return result;
}

inline sockaddr inAddress(uint32_t address) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  sockaddr result;
  std::memcpy(&result, &in, sizeof result);
  return result;
}

class Interfaces {
 public:
  Interfaces() : socket_(checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket")) {}
  ~Interfaces() { close(socket_); }
  Interfaces(const Interfaces&) = delete;
  Interfaces& operator=(const Interfaces&) = delete;

  void bringUp(const char* name) const {
    ifreq request = named(name);
    checked(ioctl(socket_, SIOCGIFFLAGS, &request), "reading an interface's flags");
    request.ifr_flags |= IFF_UP;
    checked(ioctl(socket_, SIOCSIFFLAGS, &request), "bringing an interface up");
  }

  void setAddress(const char* name, uint32_t address, uint32_t netmask) const {
    ifreq request = named(name);
    request.ifr_addr = inAddress(address);
    checked(ioctl(socket_, SIOCSIFADDR, &request), "setting an address");
    request.ifr_netmask = inAddress(netmask);
    checked(ioctl(socket_, SIOCSIFNETMASK, &request), "setting a netmask");
  }

  static ifreq named(const char* name) {
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    return request;
  }

 private:
  int socket_;
};

/** With large sends and checksums left to us, so that thousands of segments a second cost few packets. The MTU is 1500, as it comes. */
inline int openTun(const char* name) {
  const int tun = checked(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "opening /dev/net/tun");
  ifreq request = Interfaces::named(name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  checked(ioctl(tun, TUNSETIFF, &request), "creating a TUN device");
  checked(ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4), "offering offloads");
  return tun;
}

constexpr const char* kSystemsCongestionControl = "default";

/**
 * To be called before there are namespaces: those may only have what the system allows everybody. That stays allowed, and does nothing
 * by itself. Where the system's settings are out of reach, choosing one tells.
 */
inline void allowCongestionControl(const std::string& control) {
  constexpr const char* allowed = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
  if (control == kSystemsCongestionControl) return;
  std::string words, word;
  for (std::ifstream file(allowed); file >> word; words += word + " ")
    if (word == control) return;
  std::ofstream(allowed) << words + control;
}

/** Of the namespace that the calling process is in. */
inline void setCongestionControl(const std::string& control) {
  if (control == kSystemsCongestionControl) return;
  const int file = checked(open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY | O_CLOEXEC), "opening TCP's settings");
  const auto written = static_cast<int>(write(file, control.data(), control.size()));
  const int problem = errno;
  close(file);
  errno = problem;
  checked(written, "TCP with " + control);
}

/** Leaves the calling process inside it. */
inline Namespace createNamespace(uint32_t address, uint32_t netmask, const std::string& congestionControl) {
  constexpr const char* name = "home0";
  checked(unshare(CLONE_NEWNET), "creating a network namespace");
  setCongestionControl(congestionControl);
  const Interfaces interfaces;
  interfaces.bringUp("lo");
  const int tun = openTun(name);
  interfaces.setAddress(name, address, netmask);
  interfaces.bringUp(name);
  return {checked(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "opening a namespace"), tun, address};
}

}  // namespace homes
