// A stand-in for libcuda.so.1 that real PyCUDA and cuda-bindings can be loaded on: it executes the PTX that it
// is given, compiled for the CPU by ptx_machine.py (FAKE_MACHINE), and it is stricter than a driver.
//  - Work is queued and runs only when something waits for it: buffers reused too early show.
//  - Device addresses are shifted, so that neither side can read the other's memory by accident, and
//    every access of a kernel must lie in a live allocation.
//  - Every call needs a context that is current in its thread.
//  - Who waits for an event must sleep: without the flag for it a driver's wait keeps a core busy.
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

typedef unsigned long long Address;
static const Address SHIFT = 1ull << 46;
enum Status { OK = 0, BAD_VALUE = 1, OUT_OF_MEMORY = 2, NO_CONTEXT = 201, BAD_PTX = 222, NOT_FOUND = 500 };

#define EP_API extern "C" __attribute__((visibility("default"))) int

struct Stream {
  std::deque<std::function<void()>> queue;
  long long queued = 0, done = 0;
};
struct Event {
  Stream* stream = nullptr;
  long long at = 0;
  bool sleeps = false;
};
struct Module {
  std::string image;
};
struct Function {
  std::string name;
};

static std::recursive_mutex lock_;
#define LOCKED std::lock_guard<std::recursive_mutex> guard(lock_)
static thread_local std::vector<void*> contexts;
static int primary, retained;
static std::map<Address, size_t> memory, pinned;  // host address to size
static std::set<Stream*> streams;
static std::set<Event*> events;
static std::set<Module*> modules;
static std::map<std::string, int> launches;
static Stream null_stream;

static int number(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : otherwise;
}

[[noreturn]] static void fatal(const char* what) {
  std::fprintf(stderr, "fake driver: %s\n", what);
  std::abort();
}

static void run_until(Stream* stream, long long at) {
  while (stream->done < at) {
    auto work = std::move(stream->queue.front());
    stream->queue.pop_front();
    ++stream->done;
    work();
  }
}

static void run_all() {
  run_until(&null_stream, null_stream.queued);
  for (Stream* stream : streams) run_until(stream, stream->queued);
}

static Stream* known(void* handle) {
  if (!handle) return &null_stream;
  Stream* stream = (Stream*)handle;
  if (!streams.count(stream)) fatal("work on a stream that does not exist");
  return stream;
}

static void enqueue(void* handle, std::function<void()> work) {
  Stream* stream = known(handle);
  stream->queue.push_back(std::move(work));
  ++stream->queued;
}

static bool inside(const std::map<Address, size_t>& blocks, Address at, size_t size) {
  auto next = blocks.upper_bound(at);
  if (next == blocks.begin()) return false;
  --next;
  return at >= next->first && at + size <= next->first + next->second;
}

// The host address behind a device address.
static void* behind(Address device, size_t size = 1) {
  const Address host = device - SHIFT;
  if (device < SHIFT || !(inside(memory, host, size) || inside(pinned, host, size)))
    fatal("a device address outside of all allocations");
  return (void*)host;
}

// ---- the machine that executes kernels ---------------------------------------------------------------

// As in ptx_machine.h.
struct Range {
  uint64_t first, last;
  unsigned char* bytes;
};
static const char* (*ptx_run)(const char*, const void*, uint64_t, const unsigned*, unsigned, int);

static bool find_range(uint64_t address, Range* range) {
  for (const auto* blocks : {&memory, &pinned}) {
    auto next = blocks->upper_bound(address - SHIFT);
    if (next == blocks->begin()) continue;
    --next;
    if (address - SHIFT >= next->first + next->second) continue;
    *range = {next->first + SHIFT, next->first + SHIFT + next->second, (unsigned char*)next->first};
    return true;
  }
  return false;
}

// FNV-1a, as ptx_machine.py counts it.
static std::string digest(const std::string& text) {
  uint64_t value = 0xcbf29ce484222325ull;
  for (unsigned char byte : text) value = (value ^ byte) * 0x100000001b3ull;
  char hex[17];
  return std::snprintf(hex, sizeof hex, "%016llx", (unsigned long long)value), hex;
}

// Opens the machine; it must be that of this very PTX.
static void open_machine(const std::string& ptx) {
  const char* path = std::getenv("FAKE_MACHINE");
  void* machine = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
  if (!machine) fatal("no machine to execute PTX (FAKE_MACHINE)");
  if (digest(ptx) != ((const char* (*)())dlsym(machine, "ptx_digest"))()) fatal("a machine of other PTX");
  ((void (*)(decltype(&find_range)))dlsym(machine, "ptx_find_by"))(find_range);
  ptx_run = (decltype(ptx_run))dlsym(machine, "ptx_run");
}

#define NEED_CONTEXT \
  LOCKED;            \
  if (contexts.empty()) return NO_CONTEXT

// ---- start, devices, contexts ----------------------------------------------------------------------

EP_API cuInit(unsigned) { return OK; }
EP_API cuDriverGetVersion(int* version) { return *version = 12060, OK; }
EP_API cuGetErrorName(int, const char** text) { return *text = "FAKE", OK; }
EP_API cuGetErrorString(int, const char** text) { return *text = "fake driver", OK; }
EP_API cuGetExportTable(const void**, const void*) { return NOT_FOUND; }  // NVRTC asks
EP_API cuDeviceGetCount(int* count) { return *count = 1, OK; }
EP_API cuDeviceGet(int* device, int index) { return *device = index, OK; }
EP_API cuDeviceGetName(char* name, int size, int) { return std::snprintf(name, size, "Fake"), OK; }
EP_API cuDeviceComputeCapability(int* major, int* minor, int) { return *major = 8, *minor = 7, OK; }
EP_API cuDeviceTotalMem_v2(size_t* size, int) { return *size = 1ull << 33, OK; }
EP_API cuDeviceGetAttribute(int* value, int which, int) {
  *value = which == 75 ? 8 : which == 76 ? 7 : which == 18 ? number("FAKE_INTEGRATED", 0) : 1;
  return OK;
}
EP_API cuDevicePrimaryCtxRetain(void** context, int) {
  LOCKED;
  ++retained;
  return *context = &primary, OK;
}
EP_API cuDevicePrimaryCtxRelease_v2(int) {
  LOCKED;
  --retained;
  return OK;
}
EP_API cuCtxPushCurrent_v2(void* context) { return contexts.push_back(context), OK; }
EP_API cuCtxPopCurrent_v2(void** context) {
  if (contexts.empty()) return NO_CONTEXT;
  if (context) *context = contexts.back();
  return contexts.pop_back(), OK;
}
EP_API cuCtxGetDevice(int* device) { return contexts.empty() ? NO_CONTEXT : (*device = 0, OK); }
EP_API cuCtxGetApiVersion(void*, unsigned* version) { return *version = 12060, OK; }
EP_API cuCtxSynchronize() {
  NEED_CONTEXT;
  return run_all(), OK;
}

// ---- memory ----------------------------------------------------------------------------------------

EP_API cuMemAlloc_v2(Address* out, size_t size) {
  NEED_CONTEXT;
  if (size > (size_t)number("FAKE_LIMIT", 1 << 30)) return OUT_OF_MEMORY;
  void* block = std::aligned_alloc(256, (size + 255) / 256 * 256);
  std::memset(block, 0xa5, size);  // nobody may rely on zeros
  memory[(Address)block] = size;
  return *out = (Address)block + SHIFT, OK;
}
EP_API cuMemFree_v2(Address device) {
  NEED_CONTEXT;
  run_all();
  if (!memory.erase(device - SHIFT)) return BAD_VALUE;
  return std::free((void*)(device - SHIFT)), OK;
}
EP_API cuMemHostAlloc(void** out, size_t size, unsigned) {
  NEED_CONTEXT;
  *out = std::aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  std::memset(*out, 0x5a, size);
  pinned[(Address)*out] = size;
  return OK;
}
EP_API cuMemFreeHost(void* block) {
  NEED_CONTEXT;
  run_all();
  if (!pinned.erase((Address)block)) return BAD_VALUE;
  return std::free(block), OK;
}
EP_API cuMemHostGetDevicePointer_v2(Address* out, void* block, unsigned) {
  return *out = (Address)block + SHIFT, OK;
}
EP_API cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = *total = 1ull << 33, OK; }
EP_API cuMemcpyHtoD_v2(Address to, const void* from, size_t size) {
  NEED_CONTEXT;
  run_all();
  return std::memcpy(behind(to, size), from, size), OK;
}
EP_API cuMemcpyDtoH_v2(void* to, Address from, size_t size) {
  NEED_CONTEXT;
  run_all();
  return std::memcpy(to, behind(from, size), size), OK;
}
EP_API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t size, void* stream) {
  NEED_CONTEXT;
  if (!inside(pinned, (Address)from, size)) fatal("an asynchronous copy from pageable memory");
  enqueue(stream, [=] { std::memcpy(behind(to, size), from, size); });
  return OK;
}
EP_API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t size, void* stream) {
  NEED_CONTEXT;
  enqueue(stream, [=] { std::memcpy(to, behind(from, size), size); });
  return OK;
}
EP_API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t size, void* stream) {
  NEED_CONTEXT;
  enqueue(stream, [=] { std::memcpy(behind(to, size), behind(from, size), size); });
  return OK;
}

// ---- streams and events ----------------------------------------------------------------------------

EP_API cuStreamCreate(void** out, unsigned) {
  NEED_CONTEXT;
  Stream* stream = new Stream;
  streams.insert(stream);
  return *out = stream, OK;
}
EP_API cuStreamDestroy_v2(void* handle) {
  NEED_CONTEXT;
  run_until(known(handle), known(handle)->queued);
  streams.erase((Stream*)handle);
  return delete (Stream*)handle, OK;
}
EP_API cuStreamSynchronize(void* handle) {
  NEED_CONTEXT;
  return run_until(known(handle), known(handle)->queued), OK;
}
EP_API cuStreamQuery(void*) { return OK; }
EP_API cuStreamWaitEvent(void* handle, void* event, unsigned) {
  NEED_CONTEXT;
  Event now = *(Event*)event;
  enqueue(handle, [=] {
    if (now.stream) run_until(now.stream, now.at);
  });
  return OK;
}
EP_API cuEventCreate(void** out, unsigned flags) {
  NEED_CONTEXT;
  Event* event = new Event;
  event->sleeps = flags & 1;  // CU_EVENT_BLOCKING_SYNC
  events.insert(event);
  return *out = event, OK;
}
EP_API cuEventDestroy_v2(void* event) {
  NEED_CONTEXT;
  events.erase((Event*)event);
  return delete (Event*)event, OK;
}
EP_API cuEventRecord(void* event, void* handle) {
  NEED_CONTEXT;
  ((Event*)event)->stream = known(handle);
  ((Event*)event)->at = known(handle)->queued;
  return OK;
}
EP_API cuEventSynchronize(void* event) {
  NEED_CONTEXT;
  Event* e = (Event*)event;
  if (!e->sleeps) fatal("a wait that keeps a core busy");
  if (e->stream && streams.count(e->stream)) run_until(e->stream, e->at);
  return OK;
}
EP_API cuEventQuery(void*) { return OK; }
EP_API cuEventElapsedTime_v2(float* ms, void*, void*) { return *ms = 1.f, OK; }

// ---- modules and launches --------------------------------------------------------------------------

EP_API cuModuleLoadDataEx(void** out, const void* image, unsigned, void*, void**) {
  NEED_CONTEXT;
  const bool cubin = !std::memcmp(image, "\177ELF", 4);
  if (!cubin && number("FAKE_REFUSE_PTX", 0)) return BAD_PTX;
  Module* module = new Module;
  if (!cubin) open_machine(module->image = (const char*)image);
  modules.insert(module);
  return *out = module, OK;
}
EP_API cuModuleUnload(void* module) {
  NEED_CONTEXT;
  run_all();
  modules.erase((Module*)module);
  return delete (Module*)module, OK;
}
EP_API cuModuleGetFunction(void** out, void* module, const char* name) {
  NEED_CONTEXT;
  const std::string& image = ((Module*)module)->image;
  if (!image.empty() && image.find(std::string(".entry ") + name + "(") == std::string::npos)
    return NOT_FOUND;
  static std::map<std::string, Function> functions;
  return functions[name] = {name}, *out = &functions[name], OK;
}
EP_API cuFuncGetAttribute(int* value, int, void*) { return *value = 0, OK; }
EP_API cuFuncSetBlockShape(void*, int, int, int) { return OK; }
EP_API cuFuncSetAttribute(void*, int, int) { return OK; }

EP_API cuModuleLoadData(void** out, const void* image) {
  return cuModuleLoadDataEx(out, image, 0, nullptr, nullptr);
}

static void execute(const std::string& name, const unsigned (&grid)[3], unsigned threads, const std::string& packed) {
  const int flags = number("FAKE_RACES", 0) + 2 * number("FAKE_REVERSE", 0);
  const std::string wrong = ptx_run(name.c_str(), packed.data(), packed.size(), grid, threads, flags);
  if (!wrong.empty()) fatal(wrong.c_str());
}

EP_API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                      unsigned bz, unsigned, void* stream, void** parameters, void** extra) {
  NEED_CONTEXT;
  if (!gx || !gy || !gz || gy > 65535 || gz > 65535 || bx * by * bz > 1024 || by != 1 || bz != 1)
    return BAD_VALUE;
  if (parameters || !extra || extra[0] != (void*)1 || extra[2] != (void*)2) return BAD_VALUE;
  const std::string name = ((Function*)function)->name;
  const std::string packed((const char*)extra[1], *(const size_t*)extra[3]);
  ++launches[name];
  enqueue(stream, [=] { execute(name, {gx, gy, gz}, bx, packed); });
  return OK;
}

// cuda-bindings asks for functions by name, and means the newest of each.
EP_API cuGetProcAddress_v2(const char* name, void** out, int, uint64_t, int* found) {
  *out = nullptr;
  for (const char* suffix : {"_v2", ""}) {
    Dl_info here;
    dladdr((void*)&cuInit, &here);
    if (!*out) *out = dlsym(dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD), (name + std::string(suffix)).c_str());
  }
  if (found) *found = *out ? 0 : 1;
  return *out ? OK : NOT_FOUND;
}

// ---- what tests ask --------------------------------------------------------------------------------

// Live objects: device blocks, page-locked blocks, streams, events, modules, retained contexts.
EP_API fake_live(int* counts) {
  LOCKED;
  const int now[6] = {(int)memory.size(), (int)pinned.size(), (int)streams.size(),
                      (int)events.size(), (int)modules.size(), retained};
  return std::memcpy(counts, now, sizeof now), OK;
}
EP_API fake_launches(const char* name) {
  LOCKED;
  return launches[name];
}
