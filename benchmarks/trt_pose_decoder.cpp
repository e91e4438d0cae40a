// Runs the C++ decoder of a clone of NVIDIA-AI-IOT/trt_pose through one C function. Compiled by
// decode.py against that clone; nothing of it is in this repository.
#include <algorithm>
#include <vector>

#include "connect_parts.hpp"
#include "find_peaks.hpp"
#include "munkres.hpp"
#include "paf_score_graph.hpp"
#include "refine_peaks.hpp"

using namespace trt_pose::parse;

extern "C" int decode(const float* cmap, const float* paf, const int* topology, int keypoints, int links,
                      int height, int width, float cmap_threshold, float link_threshold, int window,
                      int samples, int most, int* objects) {
  static std::vector<int> counts, peaks, connections;
  static std::vector<float> refined, scores;
  static std::vector<char> assignment_space, connect_space;
  counts.resize(keypoints);
  peaks.resize(keypoints * most * 2);
  refined.resize(keypoints * most * 2);
  scores.resize((size_t)links * most * most);
  connections.resize(links * 2 * most);
  assignment_space.resize(assignment_out_workspace(most));
  connect_space.resize(connect_parts_out_workspace(keypoints, most));
  std::fill(connections.begin(), connections.end(), -1);
  std::fill(objects, objects + most * keypoints, -1);
  find_peaks_out_nchw(counts.data(), peaks.data(), cmap, 1, keypoints, height, width, most,
                      cmap_threshold, window);
  refine_peaks_out_nchw(refined.data(), counts.data(), peaks.data(), cmap, 1, keypoints, height, width,
                        most, window);
  paf_score_graph_out_nkhw(scores.data(), topology, paf, counts.data(), refined.data(), 1, links,
                           keypoints, height, width, most, samples);
  assignment_out_nk(connections.data(), scores.data(), topology, counts.data(), 1, keypoints, links,
                    most, link_threshold, assignment_space.data());
  int found = 0;
  connect_parts_out_batch(&found, objects, connections.data(), topology, counts.data(), 1, links,
                          keypoints, most, most, connect_space.data());
  return found;
}
