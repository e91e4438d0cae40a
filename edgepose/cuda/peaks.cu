// Peaks of confidence maps and their refinement. Definition: edgepose/decode/peaks.py.
#pragma once
#include "decode.h"
#include "portable.h"

#define EP_PEAK_THREADS 512

EP_INLINE int ep_reflect(int i, int size) {
  if (i >= 0 && i < size) return i;
  if (size == 1) return 0;
  const int period = 2 * size - 2;
  i = (i < 0 ? -i : i) % period;
  return ep_min(i, period - i);
}

// NaN compares false: it is no peak and hides none.
EP_INLINE bool ep_is_peak(const float* map, int height, int width, int cell, float threshold, int r) {
  const float value = map[cell];
  if (!(value >= threshold)) return false;
  const int y = cell / width, x = cell - y * width;
  const int top = ep_max(y - r, 0), bottom = ep_min(y + r, height - 1);
  const int left = ep_max(x - r, 0), right = ep_min(x + r, width - 1);
  // Most cells have a higher one beside them. What is loaded here, and of a row, is loaded at once: a thread that
  // looks at one cell after the other waits for memory each time.
  const float* row = map + y * width;
  if ((map[ep_max(y - 1, top) * width + x] > value) | (map[ep_min(y + 1, bottom) * width + x] > value) |
      (row[ep_max(x - 1, left)] > value) | (row[ep_min(x + 1, right)] > value))
    return false;
  for (int i = top; i <= bottom; ++i) {
    bool higher = false;
    for (int j = left; j <= right; ++j) higher |= map[i * width + j] > value;
    if (higher) return false;
  }
  return true;
}

EP_INLINE EpPeak ep_refine(const float* map, int height, int width, int cell, int r) {
  const int y = cell / width, x = cell - y * width;
  float mass = 0.f, sum_y = 0.f, sum_x = 0.f;
  for (int i = y - r; i <= y + r; ++i) {
    const float* row = map + ep_reflect(i, height) * width;
    for (int j = x - r; j <= x + r; ++j) {
      const float weight = row[ep_reflect(j, width)];
      mass += weight;
      sum_y += weight * (float)i;
      sum_x += weight * (float)j;
    }
  }
  EpPeak peak;
  peak.cell = cell;
  peak.y = (sum_y / mass + 0.5f) / (float)height;
  peak.x = (sum_x / mass + 0.5f) / (float)width;
  peak.score = map[cell];
  return peak;
}

// What the threads counted in sums[0] becomes the sum up to each thread, in sums[the result].
EP_INLINE int ep_prefix_sums(int (*sums)[EP_PEAK_THREADS]) {
  int from = 0;
  for (int step = 1; step < EP_THREAD_COUNT; step *= 2, from ^= 1) {
    EP_THREADS(t) sums[from ^ 1][t] = sums[from][t] + (t >= step ? sums[from][t - step] : 0);
    EP_BARRIER();
  }
  return from;
}

// One block of EP_PEAK_THREADS a map: grid (keypoints, batch). Each thread looks at a run of cells;
// the runs are joined by a prefix sum, so that the peaks lie in row order and the first max_peaks of
// them are kept whatever the timing. Maps lie map_stride cells apart (surplus channels are skipped by
// batch_stride); counts and peaks of item (batch, keypoint) lie item_words words apart a batch.
EP_KERNEL ep_peaks(const float* cmap, long long batch_stride, int height, int width, float threshold,
                   int window, int max_peaks, int* counts, EpPeak* peaks, long long item_words) {
  EP_SHARED int sums[2][EP_PEAK_THREADS], first[EP_PEAK_THREADS];
  const int keypoint = EP_BLOCK_X, cells = height * width, r = window / 2;
  const int run = (cells + EP_THREAD_COUNT - 1) / EP_THREAD_COUNT;
  const float* map = cmap + EP_BLOCK_Y * batch_stride + (long long)keypoint * cells;
  counts += EP_BLOCK_Y * item_words;
  peaks = (EpPeak*)((int*)peaks + EP_BLOCK_Y * item_words) + (long long)keypoint * max_peaks;

  EP_THREADS(t) {
    int found = 0;
    for (int cell = t * run; cell < ep_min(t * run + run, cells); ++cell)
      if (ep_is_peak(map, height, width, cell, threshold, r) && !found++) first[t] = cell;
    sums[0][t] = found;
  }
  EP_BARRIER();
  const int from = ep_prefix_sums(sums);
  const int total = ep_min(sums[from][EP_THREAD_COUNT - 1], max_peaks);
  EP_THREADS(t) {
    if (t == 0) counts[keypoint] = total;
    int rank = t ? sums[from][t - 1] : 0;
    const int end = ep_min(sums[from][t], max_peaks);
    if (rank < end) {
      int cell = first[t];
      for (peaks[rank++].cell = cell++; rank < end; ++cell)
        if (ep_is_peak(map, height, width, cell, threshold, r)) peaks[rank++].cell = cell;
    }
  }
  EP_BARRIER();
  EP_THREADS(t) {
    for (int i = t; i < total; i += EP_THREAD_COUNT)
      peaks[i] = ep_refine(map, height, width, peaks[i].cell, r);
  }
}
