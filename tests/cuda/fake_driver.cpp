// A stand-in for libcuda.so.1 that real PyCUDA can be loaded on: it executes our kernels by the host
// build, and it is stricter than a driver.
//  - Work is queued and runs only when something waits for it: buffers reused too early show.
//  - Device addresses are shifted, so that neither side can read the other's memory by accident, and
//    every pointer that a kernel gets must lie in a live allocation.
//  - Every call needs a context that is current in its thread.
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

#include "host_kernels.cpp"

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

#define NEED_CONTEXT \
  LOCKED;            \
  if (contexts.empty()) return NO_CONTEXT

// ---- start, devices, contexts ----------------------------------------------------------------------

EP_API cuInit(unsigned) { return OK; }
EP_API cuDriverGetVersion(int* version) { return *version = 12060, OK; }
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
EP_API cuEventCreate(void** out, unsigned) {
  NEED_CONTEXT;
  Event* event = new Event;
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
  if (!cubin) module->image = (const char*)image;
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

// The parameters of each kernel as the compiler of the GPU lays them out: like a C structure.
struct Peaks {
  Address cmap;
  long long batch_stride;
  int height, width;
  float threshold;
  int window, max_peaks;
  Address counts, peaks;
  long long item_words;
};
struct LineScores {
  Address paf;
  long long batch_stride;
  int height, width;
  Address table;
  int links;
  Address counts, peaks;
  int max_peaks, samples;
  Address starts, scores;
  int near;
  long long item_words;
  Address far;
  long long far_words;
};
struct Preprocess {
  EpImages images;
  EpTensor out;
  int columns;
};
struct Warp {
  EpImages images;
  EpTensor out;
};
struct Overlay {
  Address pixels;
  int width, height, pitch, stride, bgr;
  Address shapes;
  int count;
};

template <class Arguments>
static Arguments unpack(const std::string& packed) {
  // PyCUDA leaves out the padding at the end of the structure.
  if (packed.size() > sizeof(Arguments) || packed.size() + 8 <= sizeof(Arguments))
    fatal("a launch with arguments of the wrong size");
  Arguments arguments;
  std::memcpy(&arguments, packed.data(), packed.size());
  return arguments;
}

static void localise(EpImages& images, EpTensor& out, int count) {
  for (int i = 0; i < count; ++i) {
    EpImage& image = images.item[i];
    const int planes = image.format == EP_I420 ? 3 : image.format == EP_NV12 ? 2 : 1;
    for (int p = 0; p < planes; ++p) {
      const bool chroma = p > 0;
      const long long rows = chroma ? (image.height + 1) / 2 : image.height;
      const long long bytes = chroma ? (image.width + 1) / 2 * (planes == 2 ? 2 : 1)
                                     : image.width * ep_pixel_bytes(image.format);
      const size_t size = (size_t)((rows - 1) * image.pitch[p] + bytes);
      image.plane[p] = (const unsigned char*)behind((Address)image.plane[p], size);
    }
    const size_t item = (size_t)3 * out.width * out.height * (out.half ? 2 : 4);
    behind((Address)out.data + image.slot * item, item);
  }
  out.data = behind((Address)out.data);
}

static void execute(const std::string& name, int gx, int gy, int gz, int threads,
                    const std::string& packed) {
  if (name == "ep_peaks") {
    auto a = unpack<Peaks>(packed);
    behind(a.cmap + 4 * ((gy - 1) * a.batch_stride), 4ull * gx * a.height * a.width);
    host_ep_peaks(gx, gy, gz, threads, (float*)behind(a.cmap), a.batch_stride, a.height, a.width,
                  a.threshold, a.window, a.max_peaks, (int*)behind(a.counts),
                  (EpPeak*)behind(a.peaks), a.item_words);
  } else if (name == "ep_line_scores") {
    auto a = unpack<LineScores>(packed);
    behind(a.scores + 4 * (gz - 1) * a.item_words, 4ull * a.near);
    behind(a.far + 4 * (gz - 1) * a.far_words, 4ull * a.far_words);
    host_ep_line_scores(gx, gy, gz, threads, (float*)behind(a.paf), a.batch_stride, a.height,
                        a.width, (EpLink*)behind(a.table, 16 * a.links), a.links,
                        (int*)behind(a.counts), (EpPeak*)behind(a.peaks), a.max_peaks, a.samples,
                        (int*)behind(a.starts), (float*)behind(a.scores), a.near, a.item_words,
                        (float*)behind(a.far), a.far_words);
  } else if (name == "ep_preprocess") {
    auto a = unpack<Preprocess>(packed);
    localise(a.images, a.out, gz);
    host_ep_preprocess(gx, gy, gz, threads, &a.images, &a.out, a.columns);
  } else if (name == "ep_warp") {
    auto a = unpack<Warp>(packed);
    localise(a.images, a.out, gz);
    host_ep_warp(gx, gy, gz, threads, &a.images, &a.out);
  } else if (name == "ep_overlay") {
    auto a = unpack<Overlay>(packed);
    auto* pixels = (unsigned char*)behind(
        a.pixels, (size_t)(a.height - 1) * a.pitch + (size_t)a.width * a.stride);
    host_ep_overlay(gx, gy, gz, threads, pixels, a.width, a.height, a.pitch, a.stride, a.bgr,
                    (EpShape*)behind(a.shapes, sizeof(EpShape) * a.count), a.count);
  } else {
    fatal("a launch of an unknown kernel");
  }
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
  enqueue(stream, [=] { execute(name, (int)gx, (int)gy, (int)gz, (int)bx, packed); });
  return OK;
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
