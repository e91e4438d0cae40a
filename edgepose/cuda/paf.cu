// Line integrals through part affinity fields. Definition: edgepose/decode/paf.py.
#include "decode.h"
#include "portable.h"

#define EP_PAF_THREADS 128
#define EP_MAX_LINKS 128

EP_INLINE float ep_line_score(const float* field_y, const float* field_x, int height, int width,
                              float ay, float ax, float by, float bx, int samples) {
  const float dy = by - ay, dx = bx - ax;
  const float norm = ep_sqrt(dy * dy + dx * dx) + 1e-5f;
  const float uy = dy / norm, ux = dx / norm;
  float total = 0.f;
  for (int step = 0; step < samples; ++step) {
    const float t = (float)step / (float)(samples - 1);
    const float y = ay + t * dy, x = ax + t * dx;
    // Truncation towards zero takes (-1, 0) to row 0 as well; NaN is outside.
    if (y > -1.f && y < (float)height && x > -1.f && x < (float)width) {
      const int cell = (int)y * width + (int)x;
      total += field_y[cell] * uy + field_x[cell] * ux;
    }
  }
  const float score = total / (float)samples;
  return score - score == 0.f ? score : 0.f;  // infinite and NaN count 0
}

// Grid (any, links, batch), EP_PAF_THREADS threads. The scores of the pairs lie link after link
// without gaps: the first `near` of them behind the peaks, to be copied with them, the rest in `far`.
// Inputs are what ep_peaks left: counts and peaks, item_words words apart a batch.
EP_KERNEL ep_line_scores(const float* paf, long long batch_stride, int height, int width,
                         const EpLink* table, int links, const int* counts, const EpPeak* peaks,
                         int max_peaks, int samples, int* starts, float* scores, int near,
                         long long item_words, float* far, long long far_words) {
  EP_SHARED int pairs[EP_MAX_LINKS];
  const int k = EP_BLOCK_Y;
  const long long item = EP_BLOCK_Z * item_words;
  counts += item;
  starts += item;
  scores += item;
  peaks = (const EpPeak*)((const int*)peaks + item);
  far += EP_BLOCK_Z * far_words;
  EP_THREADS(t) {
    for (int j = t; j < links; j += EP_THREAD_COUNT) pairs[j] = counts[table[j].a] * counts[table[j].b];
  }
  EP_BARRIER();
  int start = 0;
  for (int j = 0; j < k; ++j) start += pairs[j];
  const EpLink link = table[k];
  const int columns = counts[link.b], total = pairs[k];
  const long long cells = (long long)height * width;
  const float* field = paf + EP_BLOCK_Z * batch_stride;
  const float h = (float)height, w = (float)width;
  EP_THREADS(t) {
    if (t == 0 && EP_BLOCK_X == 0) {
      starts[k] = start;
      if (k == links - 1) starts[links] = start + total;
    }
    for (int p = EP_BLOCK_X * EP_THREAD_COUNT + t; p < total; p += EP_GRID_X * EP_THREAD_COUNT) {
      const EpPeak a = peaks[link.a * max_peaks + p / columns];
      const EpPeak b = peaks[link.b * max_peaks + p % columns];
      const float score =
          ep_line_score(field + link.y_channel * cells, field + link.x_channel * cells, height, width,
                        a.y * h, a.x * w, b.y * h, b.x * w, samples);
      if (start + p < near)
        scores[start + p] = score;
      else
        far[start + p - near] = score;
    }
  }
}
