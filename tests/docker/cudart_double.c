/* A CUDA runtime whose device is the host: memory is malloc's, copies are memcpy's, kernels do nothing. */
#include <stdlib.h>
#include <string.h>
#define API __attribute__((visibility("default"))) int
API cudaMalloc(void **p, size_t n) { return (*p = calloc(1, n)) ? 0 : 2; }
API cudaMallocHost(void **p, size_t n) { return cudaMalloc(p, n); }
static int hosts;
API cudaHostAlloc(void **p, size_t n, unsigned f) { hosts++; return cudaMalloc(p, n); }
API ep_host_allocations(void) { return hosts; }
API cudaHostGetDevicePointer(void **d, void *h, unsigned f) { *d = h; return 0; }
API cudaFree(void *p) { free(p); return 0; }
API cudaFreeHost(void *p) { free(p); return 0; }
API cudaMemcpy(void *d, const void *s, size_t n, int k) { memcpy(d, s, n); return 0; }
API cudaMemcpyAsync(void *d, const void *s, size_t n, int k, void *st) { memcpy(d, s, n); return 0; }
API cudaMemset(void *p, int v, size_t n) { memset(p, v, n); return 0; }
API cudaDeviceSynchronize(void) { return 0; }
API cudaStreamSynchronize(void *s) { return 0; }
API cudaGetLastError(void) { return 0; }
__attribute__((visibility("default"))) const char *cudaGetErrorString(int e) { return "stub"; }
#define NONE(name) API name(void) { return 0; }
NONE(__cudaLaunchKernel) NONE(__cudaPopCallConfiguration) NONE(__cudaPushCallConfiguration)
NONE(__cudaRegisterFatBinaryEnd) NONE(__cudaRegisterFunction) NONE(__cudaUnregisterFatBinary) NONE(__cudaGetKernel)
NONE(__cudaRegisterVar)
__attribute__((visibility("default"))) void **__cudaRegisterFatBinary(void *f) { static void *h; return &h; }
NONE(cudaGraphicsGLRegisterBuffer) NONE(cudaGraphicsMapResources) NONE(cudaGraphicsResourceGetMappedPointer)
NONE(cudaGraphicsResourceSetMapFlags) NONE(cudaGraphicsUnmapResources) NONE(cudaGraphicsUnregisterResource)
NONE(cudaEventCreate) NONE(cudaEventCreateWithFlags) NONE(cudaEventDestroy) NONE(cudaEventElapsedTime) NONE(cudaEventQuery) NONE(cudaEventRecord)
NONE(cudaEventSynchronize) NONE(cudaStreamCreateWithPriority) NONE(cudaStreamDestroy) NONE(cudaStreamWaitEvent)
