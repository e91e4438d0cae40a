// The kernels for the host: the same text, looped over the grid. What tests compare with the twins.
#include "enlarge.cu"
#include "host.h"
#include "movenet.cu"
#include "overlay.cu"
#include "paf.cu"
#include "peaks.cu"
#include "preprocess.cu"

// Runs a block function for every block of the grid.
template <class Block>
static void over_grid(int gx, int gy, int gz, int threads, Block block) {
  for (int z = 0; z < gz; ++z)
    for (int y = 0; y < gy; ++y)
      for (int x = 0; x < gx; ++x) {
        ep_block = {x, y, z, gx, threads};
        block();
      }
}

EP_EXPORT void host_ep_enlarge(int gx, int gy, int gz, int threads, const float* maps,
                               long long batch_stride, int count, int height, int width, int factor,
                               float* out) {
  over_grid(gx, gy, gz, threads,
            [&] { ep_enlarge(maps, batch_stride, count, height, width, factor, out); });
}

EP_EXPORT void host_ep_peaks(int gx, int gy, int gz, int threads, const float* cmap,
                             long long batch_stride, int height, int width, float threshold,
                             int window, int max_peaks, int* counts, EpPeak* peaks,
                             long long item_words) {
  over_grid(gx, gy, gz, threads, [&] {
    ep_peaks(cmap, batch_stride, height, width, threshold, window, max_peaks, counts, peaks,
             item_words);
  });
}

EP_EXPORT void host_ep_line_scores(int gx, int gy, int gz, int threads, const float* paf,
                                   long long batch_stride, int height, int width,
                                   const EpLink* table, int links, const int* counts,
                                   const EpPeak* peaks, int max_peaks, int samples, int* starts,
                                   float* scores, int near, long long item_words, float* far,
                                   long long far_words) {
  over_grid(gx, gy, gz, threads, [&] {
    ep_line_scores(paf, batch_stride, height, width, table, links, counts, peaks, max_peaks, samples,
                   starts, scores, near, item_words, far, far_words);
  });
}

EP_EXPORT void host_ep_centers(int gx, int gy, int gz, int threads, const float* center,
                               const float* scale, const float* offset, int height, int width,
                               float threshold, int most, int* words, long long item_words,
                               int* candidates) {
  over_grid(gx, gy, gz, threads, [&] {
    ep_centers(center, scale, offset, height, width, threshold, most, words, item_words, candidates);
  });
}

EP_EXPORT void host_ep_joints(int gx, int gy, int gz, int threads, const float* heat,
                              const float* regress, const float* offset, int keypoints, int height,
                              int width, int points_at, int* words, long long item_words) {
  over_grid(gx, gy, gz, threads, [&] {
    ep_joints(heat, regress, offset, keypoints, height, width, points_at, words, item_words);
  });
}

EP_EXPORT void host_ep_preprocess(int gx, int gy, int gz, int threads, const EpImages* images,
                                  const EpTensor* out, int columns) {
  over_grid(gx, gy, gz, threads, [&] { ep_preprocess(*images, *out, columns); });
}

EP_EXPORT void host_ep_warp(int gx, int gy, int gz, int threads, const EpImages* images,
                            const EpTensor* out) {
  over_grid(gx, gy, gz, threads, [&] { ep_warp(*images, *out); });
}

EP_EXPORT void host_ep_overlay(int gx, int gy, int gz, int threads, unsigned char* pixels, int width,
                               int height, int pitch, int stride, int bgr, const EpShape* shapes,
                               int count) {
  over_grid(gx, gy, gz, threads,
            [&] { ep_overlay(pixels, width, height, pitch, stride, bgr, shapes, count); });
}
