// One text for nvcc, NVRTC and g++: no CUDA header, no standard header.
//
// A kernel is written for a whole block. Its work stands in EP_THREADS loops with EP_BARRIER between
// them: on the GPU the loop body runs once, for this thread; on the host it runs for all threads of
// the block in turn, so the end of the loop is the barrier. Nothing that a thread keeps in a local
// variable may live across a barrier: what later phases need goes into EP_SHARED arrays.
#pragma once

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)

#define EP_KERNEL extern "C" __global__ void
#define EP_INLINE static __device__ __forceinline__
#define EP_SHARED __shared__
#define EP_THREADS(t) for (int t = threadIdx.x, t##_once = 1; t##_once; t##_once = 0)
#define EP_BARRIER() __syncthreads()
#define EP_NO_UNROLL _Pragma("unroll 1")
#define EP_BLOCK_X ((int)blockIdx.x)
#define EP_BLOCK_Y ((int)blockIdx.y)
#define EP_BLOCK_Z ((int)blockIdx.z)
#define EP_GRID_X ((int)gridDim.x)
#define EP_THREAD_COUNT ((int)blockDim.x)

EP_INLINE float ep_sqrt(float v) { return sqrtf(v); }
EP_INLINE float ep_floor(float v) { return floorf(v); }
EP_INLINE unsigned ep_word(const unsigned char* p) { return *(const unsigned*)p; }
EP_INLINE int ep_lowest_bit(unsigned word) { return __ffs((int)word) - 1; }
EP_INLINE float ep_float(int bits) { return __int_as_float(bits); }
EP_INLINE unsigned short ep_half(float value) {
  unsigned short half;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
  return half;
}

#else

struct EpBlock {
  int x, y, z, grid_x, threads;
};
static thread_local EpBlock ep_block;

#define EP_KERNEL static void
#define EP_INLINE static inline
#define EP_SHARED
#ifdef EP_REVERSE  // a result that depends on the order of threads is a race on the GPU
#define EP_THREADS(t) for (int t = ep_block.threads - 1; t >= 0; --t)
#else
#define EP_THREADS(t) for (int t = 0; t < ep_block.threads; ++t)
#endif
#define EP_BARRIER()
#define EP_NO_UNROLL
#define EP_BLOCK_X (ep_block.x)
#define EP_BLOCK_Y (ep_block.y)
#define EP_BLOCK_Z (ep_block.z)
#define EP_GRID_X (ep_block.grid_x)
#define EP_THREAD_COUNT (ep_block.threads)

EP_INLINE float ep_sqrt(float v) { return __builtin_sqrtf(v); }
EP_INLINE float ep_floor(float v) { return __builtin_floorf(v); }
EP_INLINE unsigned ep_bits(float v) {
  unsigned bits;
  __builtin_memcpy(&bits, &v, 4);
  return bits;
}
EP_INLINE unsigned ep_word(const unsigned char* p) {
  unsigned word;
  __builtin_memcpy(&word, p, 4);
  return word;
}
EP_INLINE int ep_lowest_bit(unsigned word) { return __builtin_ctz(word); }
EP_INLINE float ep_float(int bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// IEEE half precision by integer bits, rounded to nearest even, as the GPU does it; overflow is infinity.
EP_INLINE unsigned short ep_half(float value) {
  const unsigned bits = ep_bits(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return (unsigned short)(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);
  if (magnitude < 0x33000000u) return (unsigned short)sign;
  unsigned kept, rest, half_way;
  if (magnitude < 0x38800000u) {  // subnormal: the mantissa with its hidden bit is shifted down
    const int shift = 126 - (int)(magnitude >> 23);
    const unsigned mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    kept = mantissa >> shift;
    rest = mantissa & ((1u << shift) - 1u);
    half_way = 1u << (shift - 1);
  } else {
    kept = (magnitude - 0x38000000u) >> 13;
    rest = magnitude & 0x1fffu;
    half_way = 0x1000u;
  }
  if (rest > half_way || (rest == half_way && (kept & 1u))) ++kept;
  return (unsigned short)(sign | kept);
}

#endif

EP_INLINE int ep_min(int a, int b) { return a < b ? a : b; }
EP_INLINE int ep_max(int a, int b) { return a > b ? a : b; }
EP_INLINE float ep_min(float a, float b) { return a < b ? a : b; }
EP_INLINE float ep_max(float a, float b) { return a > b ? a : b; }
EP_INLINE int ep_clamp(int v, int low, int high) { return ep_min(ep_max(v, low), high); }
EP_INLINE float ep_byte(unsigned word, int n) { return (float)((word >> 8 * n) & 255u); }
