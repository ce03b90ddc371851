#include "instruction-sets.h"

#if defined(TAH_ACCELERATE)
#include "accelerate.h"
#endif

#if defined(_MSC_VER) && defined(_M_X64)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace tah {
namespace {

#if defined(__x86_64__)

bool runsAvx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool runsAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw");
}

bool runsAvx512Bf16() { return runsAvx512() && __builtin_cpu_supports("avx512bf16"); }

#elif defined(_M_X64)

/** Intel SDM vol. 2A, CPUID: leaf 1 ECX bit 12 is FMA, bit 27 OSXSAVE; XCR0 says which registers the system saves. */
bool savesRegisters(unsigned long long states) {
  int registers[4];
  __cpuid(registers, 1);
  return (registers[2] & (1 << 27)) != 0 && (_xgetbv(0) & states) == states;
}

/** Leaf 7 EBX. */
bool hasFeatures(unsigned features) {
  int registers[4];
  __cpuidex(registers, 7, 0);
  return (static_cast<unsigned>(registers[1]) & features) == features;
}

bool runsAvx2() {
  int registers[4];
  __cpuid(registers, 1);
  return savesRegisters(0x06) && (registers[2] & (1 << 12)) != 0 && hasFeatures(1u << 5);
}

bool runsAvx512() { return savesRegisters(0xe6) && hasFeatures(1u << 16 | 1u << 17 | 1u << 30 | 1u << 31); }

#endif

}  // namespace

std::vector<InstructionSet> instructionSets() {
  std::vector<InstructionSet> sets;
#if defined(__x86_64__) || defined(_M_X64)
  if (runsAvx512()) sets.push_back({"AVX-512", Precision::single, &avx512::table});
  if (runsAvx2()) sets.push_back({"AVX2", Precision::single, &avx2::table});
  sets.push_back({"SSE2", Precision::single, &generic::table});
#if defined(__x86_64__)  // Visual C++'s vectors are structs of lanes, which the bfloat16 panels do not take.
  if (runsAvx512Bf16()) sets.push_back({"AVX-512-BF16", Precision::brainFloat, &avx512bf16::table});
#endif
#else
  sets.push_back({"NEON", Precision::single, &generic::table});
#endif
#if defined(TAH_ACCELERATE)
  static const KernelTable accelerated = withAccelerate(*sets.front().kernels);
  sets.insert(sets.begin(), {"Accelerate", Precision::single, &accelerated});
#endif
  return sets;
}

std::vector<CodecSet> codecSets() {
  std::vector<CodecSet> sets;
#if defined(__x86_64__) || defined(_M_X64)
  if (runsAvx512()) sets.push_back({"AVX-512", &avx512::codecTable});
  if (runsAvx2()) sets.push_back({"AVX2", &avx2::codecTable});
  sets.push_back({"SSE2", &generic::codecTable});
#else
  sets.push_back({"NEON", &generic::codecTable});
#endif
  return sets;
}

}  // namespace tah
