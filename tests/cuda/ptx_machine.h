// What translated PTX runs on (ptx_machine.py): the threads of a block take turns from barrier to barrier, every
// access is checked against live allocations, and two accesses that no barrier orders are a race.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

typedef uint64_t u64;
typedef uint32_t u32;

// ---- faults ----------------------------------------------------------------------------------------

static u32 tid, ntid, ctaid[3], nctaid[3];
static long fuel;
static const char* kernel_name;
struct Fault {
  std::string words;
};

[[noreturn]] static void fault(const char* what, int line, const std::string& more = "") {
  char text[400];
  std::snprintf(text, sizeof text, "%s, line %d: %s%s (thread %u of block %u, %u, %u)", kernel_name, line, what,
                more.c_str(), tid, ctaid[0], ctaid[1], ctaid[2]);
  throw Fault{text};
}

// ---- races -----------------------------------------------------------------------------------------

// Who touched a byte last. An epoch lies between two barriers of one block; epochs grow from block to block.
struct Touch {
  u32 written, read, shared;  // epochs; `shared`: read by several blocks
  uint16_t writer, reader;    // threads; MANY readers
};
static const uint16_t MANY = 0xffff;
static u32 epoch, block_epoch;
static bool races;

static void touch(Touch* bytes, int size, bool write, int line) {
  const uint16_t me = (uint16_t)tid;
  for (Touch* t = bytes; t < bytes + size; ++t) {
    if (t->written && (t->written < block_epoch || (t->written == epoch && t->writer != me)))
      fault(write ? "races with a write" : "reads what races with a write", line);
    const bool other_block = t->read && t->read < block_epoch;
    if (write) {
      if (t->shared || other_block || (t->read == epoch && t->reader != me))
        fault("writes what races with a read", line);
      t->written = epoch, t->writer = me;
    } else {
      if (other_block) t->shared = 1;
      t->reader = t->read == epoch && t->reader != me ? MANY : me;
      t->read = epoch;
    }
  }
}

// ---- memory ----------------------------------------------------------------------------------------

// A live allocation: [first, last) in the address space of kernels, and where its bytes are.
struct Range {
  u64 first, last;
  unsigned char* bytes;
};
typedef bool (*Find)(u64 address, Range* range);

static std::map<u64, Range> allowed;
static bool find_allowed(u64 address, Range* range) {
  auto next = allowed.upper_bound(address);
  if (next == allowed.begin()) return false;
  *range = (--next)->second;
  return address < range->last;
}
static Find find_range = find_allowed;
static std::map<u64, std::unique_ptr<Touch[]>> touched;  // global memory of this launch

struct Known {
  Range range;
  Touch* touches;
};
static Known known[256];

static const Known& look_up(u64 address, int size, int line) {
  Known& k = known[line & 255];
  if (address >= k.range.first && address + size <= k.range.last) return k;
  if (!find_range(address, &k.range) || address + size > k.range.last) {
    k.range = {0, 0, nullptr};
    fault("an address outside of all allocations", line);
  }
  k.touches = nullptr;
  if (races) {
    auto& touches = touched[k.range.first];
    if (!touches) touches.reset(new Touch[k.range.last - k.range.first]());
    k.touches = touches.get();
  }
  return k;
}

static inline void aligned(u64 address, int size, int line) {
  if (address & (size - 1)) fault("a misaligned address", line);
}

static inline unsigned char* global_at(u64 address, int size, bool write, int line) {
  const Known& k = look_up(address, size, line);
  if (races) touch(k.touches + (address - k.range.first), size, write, line);
  return k.range.bytes + (address - k.range.first);
}

static std::vector<unsigned char> shared_bytes;
static std::vector<Touch> shared_touches;
static inline unsigned char* shared_at(u64 address, int size, bool write, int line) {
  if (address + size > shared_bytes.size()) fault("outside of shared memory", line);
  if (races) touch(&shared_touches[address], size, write, line);
  return &shared_bytes[address];
}

static std::string params;
static inline unsigned char* param_at(u64 address, int size, bool, int line) {
  if (address + size > params.size()) fault("outside of the parameters", line);
  return (unsigned char*)&params[address];
}

template <class T>
static inline T load(const unsigned char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
static inline void store(unsigned char* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// ---- arithmetic as PTX has it ----------------------------------------------------------------------

static inline float as_float(u32 bits) { return load<float>((unsigned char*)&bits); }
static inline u32 as_bits(float value) { return load<u32>((unsigned char*)&value); }
static inline float min_(float a, float b) { return a != a ? b : b != b ? a : a < b ? a : b; }
static inline float max_(float a, float b) { return a != a ? b : b != b ? a : a > b ? a : b; }
template <class T>
static inline T min_(T a, T b) { return a < b ? a : b; }
template <class T>
static inline T max_(T a, T b) { return a > b ? a : b; }
static inline int32_t to_s32(float v) {
  return v != v ? 0 : v >= 2147483648.f ? INT32_MAX : v <= -2147483648.f ? INT32_MIN : (int32_t)v;
}
static inline u32 to_u32(float v) { return !(v > 0) ? 0 : v >= 4294967296.f ? UINT32_MAX : (u32)v; }
// To half precision, to nearest even: floats are rounded by adding a number that leaves the bits that stay.
static inline uint16_t to_f16(float value) {
  const u32 sign = as_bits(value) >> 16 & 0x8000u;
  const float size = __builtin_fabsf(value);
  if (size != size) return 0x7fff;
  if (size >= 65520.f) return (uint16_t)(sign | 0x7c00u);
  if (size < 0x1p-14f) return (uint16_t)(sign | (as_bits(size + 0.5f) - as_bits(0.5f)));  // steps of 2^-24
  const float step = as_float((as_bits(size) & 0x7f800000u) + (13u << 23));
  return (uint16_t)(sign | (as_bits((size + step) - step) - 0x38000000u) >> 13);
}
static inline u32 brev_(u32 word) {
  u32 out = 0;
  for (int i = 0; i < 32; ++i) out |= (word >> i & 1) << (31 - i);
  return out;
}
template <class T>
static inline T shl_(T v, u32 n) { return n >= sizeof(T) * 8 ? 0 : (T)(v << n); }
template <class T>
static inline T shr_(T v, u32 n) { return n < sizeof(T) * 8 ? (T)(v >> n) : v < 0 ? (T)-1 : (T)0; }
template <class T>
static inline T div_(T a, T b, int line) {
  if (b == 0) fault("a division by zero", line);
  return (T)(b == (T)-1 ? (T)(0 - (u64)a) : a / b);
}
template <class T>
static inline T rem_(T a, T b, int line) { return (T)((u64)a - (u64)div_(a, b, line) * (u64)b); }

// ---- launches --------------------------------------------------------------------------------------

static const int DONE = 0;  // else the number of the barrier that a thread waits at
struct Kernel {
  const char* name;
  int (*run)(void* registers, int from);
  u32 registers, params, shared;
  u64* hits;  // of each basic block
  u32 blocks;
};

static void run_block(const Kernel& kernel, u32 threads, bool reverse, std::vector<unsigned char>& registers) {
  std::fill(shared_bytes.begin(), shared_bytes.end(), 0xa5);
  std::fill(shared_touches.begin(), shared_touches.end(), Touch());
  std::vector<int> at(threads, DONE);
  block_epoch = ++epoch;
  for (bool first = true;; first = false) {
    for (u32 i = 0; i < threads; ++i) {
      tid = reverse ? threads - 1 - i : i;
      fuel = 1l << 27;
      at[tid] = kernel.run(&registers[(size_t)tid * kernel.registers], first ? DONE : at[tid]);
    }
    for (u32 t = 1; t < threads; ++t)
      if (at[t] != at[0]) fault("a barrier that not all threads reach", 0);
    if (at[0] == DONE) return;
    ++epoch;
  }
}

static void run_all(const Kernel& kernel, const u32* grid, u32 threads, bool reverse) {
  std::vector<unsigned char> registers((size_t)threads * kernel.registers);
  shared_bytes.assign(kernel.shared, 0);
  shared_touches.assign(races ? kernel.shared : 0, Touch());
  const u64 total = (u64)grid[0] * grid[1] * grid[2];
  for (u64 i = 0; i < total; ++i) {
    const u64 block = reverse ? total - 1 - i : i;
    ctaid[0] = (u32)(block % grid[0]), ctaid[1] = (u32)(block / grid[0] % grid[1]);
    ctaid[2] = (u32)(block / grid[0] / grid[1]);
    run_block(kernel, threads, reverse, registers);
  }
}

static const Kernel* kernel_of(const char* name);
#define EP_API extern "C" __attribute__((visibility("default")))

// Runs a kernel; "" or what went wrong. flags: 1 look for races, 2 threads and blocks in reverse.
EP_API const char* ptx_run(const char* name, const void* given, u64 size, const u32* grid, u32 threads, int flags) {
  static std::string words;
  words.clear();
  const Kernel* kernel = kernel_of(name);
  if (!kernel) return "no such kernel";
  if (size > kernel->params || size + 8 <= kernel->params) return "arguments of the wrong size";
  params.assign((const char*)given, size).resize(kernel->params);
  kernel_name = kernel->name;
  std::memset(known, 0, sizeof known);
  std::memcpy(nctaid, grid, sizeof nctaid);
  ntid = threads, races = flags & 1, epoch = 0;
  try {
    run_all(*kernel, grid, threads, flags & 2);
  } catch (const Fault& e) {
    words = e.words;
  }
  touched.clear();
  return words.c_str();
}
// How often each basic block of a kernel was entered since the start.
EP_API const u64* ptx_hits(const char* name) { return kernel_of(name) ? kernel_of(name)->hits : nullptr; }
EP_API void ptx_find_by(Find find) { find_range = find; }
EP_API void ptx_allow(u64 first, u64 size) { allowed[first] = {first, first + size, (unsigned char*)first}; }
EP_API void ptx_forget_all() { allowed.clear(); }
