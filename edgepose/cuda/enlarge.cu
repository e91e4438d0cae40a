// Maps enlarged by a whole factor. Definition: `enlarge` of edgepose/cuda/twins.py.
#include "portable.h"

// Keys' cubic (1981) with a = -.75, of one of the `factor` cells that a cell becomes: the weights of four
// neighbours in a row. Returns whether the first of them lies two cells before, else it lies one before.
EP_INLINE bool ep_cubic(int phase, int factor, float weights[4]) {
  const float offset = ((float)phase + 0.5f) / (float)factor - 0.5f;
  const bool before = offset < 0.f;
  const float f = before ? offset + 1.f : offset, g = 1.f - f;
  weights[0] = -0.75f * f * g * g;
  weights[1] = (1.25f * f - 2.25f) * f * f + 1.f;
  weights[2] = (1.25f * g - 2.25f) * g * g + 1.f;
  weights[3] = -0.75f * g * f * f;
  return before;
}

EP_INLINE float ep_weigh(const float w[4], float a, float b, float c, float d) {
  return w[0] * a + w[1] * b + w[2] * c + w[3] * d;
}

// Grid (any, maps, batch). A thread makes the `factor` cells below each other that one row becomes at one
// column of the output. Maps of an item lie one after the other, items batch_stride cells apart; what is made
// lies without gaps. The border is repeated.
EP_KERNEL ep_enlarge(const float* maps, long long batch_stride, int count, int height, int width, int factor,
                     float* out) {
  const int wide = width * factor;
  const float* map = maps + EP_BLOCK_Z * batch_stride + (long long)EP_BLOCK_Y * height * width;
  out += ((long long)EP_BLOCK_Z * count + EP_BLOCK_Y) * height * factor * wide;
  EP_THREADS(t) {
    const int at = EP_BLOCK_X * EP_THREAD_COUNT + t;
    if (at >= height * wide) continue;
    const int y = at / wide, x = at - y * wide, column = x / factor;
    float across[4], sums[5];
    const int left = column - (ep_cubic(x - column * factor, factor, across) ? 2 : 1);
    const int x0 = ep_clamp(left, 0, width - 1), x1 = ep_clamp(left + 1, 0, width - 1),
              x2 = ep_clamp(left + 2, 0, width - 1), x3 = ep_clamp(left + 3, 0, width - 1);
    for (int i = 0; i < 5; ++i) {
      const float* row = map + ep_clamp(y + i - 2, 0, height - 1) * width;
      sums[i] = ep_weigh(across, row[x0], row[x1], row[x2], row[x3]);
    }
    float* to = out + (long long)y * factor * wide + x;
    EP_NO_UNROLL
    for (int phase = 0; phase < factor; ++phase, to += wide) {
      float down[4];
      *to = ep_cubic(phase, factor, down) ? ep_weigh(down, sums[0], sums[1], sums[2], sums[3])
                                          : ep_weigh(down, sums[1], sums[2], sums[3], sums[4]);
    }
  }
}
