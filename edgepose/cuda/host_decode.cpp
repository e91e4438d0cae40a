// Bottom-up decoding for the CPU in one call: the same results as the numpy twin, arranged for cache
// and vector units. Refinement is the kernels' own text; assignment is edgepose/matching.py,
// operation for operation.
#include "host.h"
#include "paf.cu"
#include "peaks.cu"

// What decoding needs and where everything goes; the caller owns all memory. Mirrors `_Job` in host.py.
struct Job {
  const float* cmap;
  const float* paf;
  const EpLink* table;
  int keypoints, links, height, width;
  float keypoint_threshold, link_threshold;
  int window, samples, max_peaks, max_objects;
  int* offsets;        // keypoints + 1
  int* cells;          // keypoints * max_peaks, row * width + column
  float* positions;    // keypoints * max_peaks * 2, [y, x] normalised
  float* confidence;   // keypoints * max_peaks
  float* scores;       // links * max_peaks^2 where kept or given, else max_peaks^2
  int* connections;    // links * 2 * max_peaks
  float* link_scores;  // links * max_peaks
  int* objects;        // max_objects * keypoints
  float* poses;        // max_objects * keypoints * 3
  float* pose_links;   // max_objects * links
  Word* scratch;       // decode_scratch_words(...)
  int keep_scores;     // keep those of all links, one after the other
};

static Word larger(Word a, Word b) { return a > b ? a : b; }

// ---- peaks -------------------------------------------------------------------------------------

// A window wider than the map sees no more than the map.
static int window_radius(const Job& job) {
  return ep_min(job.window / 2, ep_max(job.height, job.width));
}

// A map with borders, so that windows need no clipping and all loops below run over many rows at once.
struct Padded {
  float* cells;          // row y, column x at y * pitch + r + x; -inf around and for NaN
  float* along;          // row y, column x at (y + r) * pitch + x: largest along the row's window
  float* highest;        // the rows at hand: largest in the whole window
  unsigned char* marks;  // the rows at hand: 1 for a peak; 8 more at the end
  Word pitch;
  int height, width, r;
};

static Word padded_floats(const Job& job) {
  const Word r = window_radius(job), pitch = job.width + 2 * r;
  return (4 * job.height + 2 * r + 1) * pitch + 2;
}

static Padded padded_in(const Job& job, float* memory) {
  const int r = window_radius(job);
  const Word pitch = job.width + 2 * r, cells = (job.height + 1) * pitch;
  const Word along = (job.height + 2 * r) * pitch;
  for (Word i = 0; i < cells + along; ++i) memory[i] = -__builtin_inff();
  float* const highest = memory + cells + along;
  unsigned char* const marks = (unsigned char*)(highest + job.height * pitch);
  return {memory, memory + cells, highest, marks, pitch, job.height, job.width, r};
}

EP_CLONES static bool any_reaches(const float* cells, int count, float threshold) {
  int hot = 0;
  for (int i = 0; i < count; ++i) hot += cells[i] >= threshold;
  return hot != 0;
}

EP_CLONES static void copy_row(const float* __restrict__ from, float* __restrict__ to, int width) {
  for (int x = 0; x < width; ++x) to[x] = from[x] > -__builtin_inff() ? from[x] : -__builtin_inff();
}

// out[i] = largest of from[i], from[i + step], ... (2r + 1 of them). NaN is not among them.
template <int R>
static inline __attribute__((always_inline)) void maxima_of(const float* __restrict__ from, Word step,
                                                            Word count, float* __restrict__ out) {
  for (Word i = 0; i < count; ++i) {
    float most = from[i];
    for (int j = 1; j <= 2 * R; ++j) most = from[i + j * step] > most ? from[i + j * step] : most;
    out[i] = most;
  }
}

EP_CLONES static void maxima(const float* __restrict__ from, Word step, Word count, int r,
                             float* __restrict__ out) {
  if (r == 1) return maxima_of<1>(from, step, count, out);
  if (r == 2) return maxima_of<2>(from, step, count, out);
  if (r == 3) return maxima_of<3>(from, step, count, out);
  for (Word i = 0; i < count; ++i) out[i] = from[i];
  for (int j = 1; j <= 2 * r; ++j)
    for (Word i = 0; i < count; ++i)
      out[i] = from[i + j * step] > out[i] ? from[i + j * step] : out[i];
}

EP_CLONES static void mark(const float* __restrict__ cells, const float* __restrict__ highest,
                           float threshold, Word count, unsigned char* __restrict__ marks) {
  for (Word i = 0; i < count; ++i) marks[i] = (cells[i] >= threshold) & (cells[i] >= highest[i]);
}

// Rows of a map that may hold peaks, to some rows exactly: [first, end), empty where nothing does.
static void hot_rows(const Job& job, const float* map, int* first, int* end) {
  const int rows = ep_max(512 / job.width, 1);
  *first = *end = 0;
  for (int y = 0; y < job.height; y += rows) {
    const int stop = ep_min(y + rows, job.height);
    if (!any_reaches(map + (Word)y * job.width, (stop - y) * job.width, job.keypoint_threshold))
      continue;
    if (*first == *end) *first = y;
    *end = stop;
  }
}

static int find_peaks(const Job& job, const float* map, const Padded& p, int* cells) {
  int first, end, found = 0;
  hot_rows(job, map, &first, &end);
  if (first == end) return 0;
  const int top = ep_max(first - p.r, 0), bottom = ep_min(end + p.r, p.height);
  for (int y = top; y < bottom; ++y)
    copy_row(map + (Word)y * p.width, p.cells + y * p.pitch + p.r, p.width);
  maxima(p.cells + top * p.pitch, 1, (bottom - top) * p.pitch, p.r, p.along + (top + p.r) * p.pitch);
  const Word count = (end - first) * p.pitch;
  maxima(p.along + first * p.pitch, p.pitch, count, p.r, p.highest);
  mark(p.cells + first * p.pitch + p.r, p.highest, job.keypoint_threshold, count, p.marks);
  __builtin_memset(p.marks + count, 0, 8);
  for (Word i = 0; i < count; i += 8) {
    Word eight;
    __builtin_memcpy(&eight, p.marks + i, 8);
    for (Word j = i; eight && j < i + 8; ++j) {
      if (!p.marks[j]) continue;
      const Word y = first + j / p.pitch;
      if (found >= job.max_peaks) return found;
      cells[found++] = (int)(y * p.width + j % p.pitch);
    }
  }
  return found;
}

// The peaks of all keypoints without gaps, refined; `pixels` gets positions in cells.
static void all_peaks(const Job& job, float* pixels, float* memory) {
  const Word area = (Word)job.height * job.width;
  const Padded padded = padded_in(job, memory);
  int total = 0;
  for (int k = 0; k < job.keypoints; ++k) {
    const float* map = job.cmap + k * area;
    const int found = find_peaks(job, map, padded, job.cells + total);
    job.offsets[k] = total;
    for (int i = total; i < total + found; ++i) {
      const EpPeak peak = ep_refine(map, job.height, job.width, job.cells[i], job.window / 2);
      job.positions[2 * i] = peak.y;
      job.positions[2 * i + 1] = peak.x;
      job.confidence[i] = peak.score;
    }
    total += found;
  }
  job.offsets[job.keypoints] = total;
  for (int i = 0; i < total; ++i) {
    pixels[2 * i] = job.positions[2 * i] * (float)job.height;
    pixels[2 * i + 1] = job.positions[2 * i + 1] * (float)job.width;
  }
}

// ---- line integrals ----------------------------------------------------------------------------

// Pairs are scored some hundreds at a time: long enough for vectors, short enough for the cache.
static const int PAIRS = 512;

static Word line_floats(const Job& job) { return 8 * (Word)(PAIRS + job.max_peaks); }

// Scores of peaks a (`rows` of them) with peaks b (`columns`), both [y, x] in cells.
EP_CLONES static void line_scores(const float* __restrict__ field_y,
                                  const float* __restrict__ field_x, int height, int width,
                                  const float* __restrict__ a, int rows, const float* __restrict__ b,
                                  int columns, int samples, float* __restrict__ lanes,
                                  float* __restrict__ out) {
  const int n = rows * columns;
  float* __restrict__ ay = lanes;
  float* __restrict__ ax = ay + n;
  float* __restrict__ dy = ax + n;
  float* __restrict__ dx = dy + n;
  float* __restrict__ uy = dx + n;
  float* __restrict__ ux = uy + n;
  int* __restrict__ cell = (int*)(ux + n);
  int* __restrict__ inside = cell + n;
  for (int i = 0, p = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j, ++p) {
      ay[p] = a[2 * i];
      ax[p] = a[2 * i + 1];
      dy[p] = b[2 * j] - a[2 * i];
      dx[p] = b[2 * j + 1] - a[2 * i + 1];
    }
  for (int p = 0; p < n; ++p) {
    const float norm = __builtin_sqrtf(dy[p] * dy[p] + dx[p] * dx[p]) + 1e-5f;
    uy[p] = dy[p] / norm;
    ux[p] = dx[p] / norm;
    out[p] = 0.f;
  }
  const float h = (float)height, w = (float)width;
  for (int step = 0; step < samples; ++step) {
    const float t = (float)step / (float)(samples - 1);
    for (int p = 0; p < n; ++p) {
      const float y = ay[p] + t * dy[p], x = ax[p] + t * dx[p];
      inside[p] = (y > -1.f) & (y < h) & (x > -1.f) & (x < w);
      const float safe_y = inside[p] ? y : 0.f, safe_x = inside[p] ? x : 0.f;
      cell[p] = (int)safe_y * width + (int)safe_x;
    }
    for (int p = 0; p < n; ++p) {
      const float dot = field_y[cell[p]] * uy[p] + field_x[cell[p]] * ux[p];
      out[p] += inside[p] ? dot : 0.f;
    }
  }
  for (int p = 0; p < n; ++p) {
    const float score = out[p] / (float)samples;
    out[p] = score - score == 0.f ? score : 0.f;
  }
}

// Scores of all pairs of a link.
static void link_scores(const Job& job, const EpLink& link, const float* pixels, float* lanes,
                        float* out) {
  const Word area = (Word)job.height * job.width;
  const int a0 = job.offsets[link.a], b0 = job.offsets[link.b];
  const int rows = job.offsets[link.a + 1] - a0, columns = job.offsets[link.b + 1] - b0;
  if (!columns) return;
  const int step = ep_max(PAIRS / columns, 1);
  for (int i = 0; i < rows; i += step)
    line_scores(job.paf + link.y_channel * area, job.paf + link.x_channel * area, job.height,
                job.width, pixels + 2 * (a0 + i), ep_min(step, rows - i), pixels + 2 * b0, columns,
                job.samples, lanes, out + (Word)i * columns);
}

// ---- assignment --------------------------------------------------------------------------------

// A score matrix, read by rows or, where it has more rows than columns, transposed.
struct Matrix {
  const float* values;
  int rows, columns, row_step, column_step;
  double at(int i, int j) const { return (double)values[i * row_step + j * column_step]; }
};

struct Matching {
  int *column_of, *row_of, *path, *remaining, *scanned;
  double *u, *v, *distance;
};

static Matching matching_in(Word* scratch, int largest) {
  Matching m;
  m.u = (double*)scratch;
  m.v = m.u + largest;
  m.distance = m.v + largest;
  m.column_of = (int*)(m.distance + largest);
  m.row_of = m.column_of + largest;
  m.path = m.row_of + largest;
  m.remaining = m.path + largest;
  m.scanned = m.remaining + largest;
  return m;
}

// Shortest augmenting path from row `start`; the same operations as `_augment` of the twin.
static void augment(const Matrix& score, int start, Matching& m) {
  int left = score.columns, scanned = 0, i = start, nearest;
  for (int j = 0; j < left; ++j) {
    m.distance[j] = __builtin_inf();
    m.remaining[j] = j;
  }
  double reached = 0.0;
  while (true) {
    const double base = reached - m.u[i];
    double lowest = __builtin_inf();
    int place = -1;
    nearest = -1;
    for (int p = 0; p < left; ++p) {
      const int j = m.remaining[p];
      double d = (base - score.at(i, j)) - m.v[j];
      if (d < m.distance[j]) {
        m.distance[j] = d;
        m.path[j] = i;
      } else {
        d = m.distance[j];
      }
      if (d < lowest || (d == lowest && m.row_of[j] < 0 && m.row_of[nearest] >= 0)) {
        lowest = d;
        nearest = j;
        place = p;
      }
    }
    reached = lowest;
    if (m.row_of[nearest] < 0) break;
    for (--left; place < left; ++place) m.remaining[place] = m.remaining[place + 1];
    m.scanned[scanned++] = nearest;
    i = m.row_of[nearest];
  }
  m.u[start] += reached;
  for (int s = 0; s < scanned; ++s) {
    const int j = m.scanned[s];
    m.u[m.row_of[j]] += reached - m.distance[j];
    m.v[j] -= reached - m.distance[j];
  }
  for (int j = nearest;;) {
    i = m.path[j];
    m.row_of[j] = i;
    const int next = m.column_of[i];
    m.column_of[i] = j;
    if (i == start) return;
    j = next;
  }
}

// Fills column_of: the column of each row, rows <= columns, with the largest sum of scores.
static void match_rows(const Matrix& score, Matching& m) {
  bool all = true;
  for (int j = 0; j < score.columns; ++j) {
    m.row_of[j] = -1;
    m.v[j] = 0.0;
  }
  for (int i = 0; i < score.rows; ++i) {
    int best = 0;
    for (int j = 1; j < score.columns; ++j)
      if (score.at(i, j) > score.at(i, best)) best = j;
    m.u[i] = -score.at(i, best);
    m.column_of[i] = -1;
    if (m.row_of[best] < 0) {
      m.row_of[best] = i;
      m.column_of[i] = best;
    } else {
      all = false;
    }
  }
  if (all) return;
  for (int i = 0; i < score.rows; ++i)
    if (m.column_of[i] < 0) augment(score, i, m);
}

static void assign_link(const Job& job, int k, const float* scores, Word* scratch) {
  const EpLink link = job.table[k];
  const int na = job.offsets[link.a + 1] - job.offsets[link.a];
  const int nb = job.offsets[link.b + 1] - job.offsets[link.b];
  int* const to_b = job.connections + (Word)k * 2 * job.max_peaks;
  int* const to_a = to_b + job.max_peaks;
  float* const kept = job.link_scores + (Word)k * job.max_peaks;
  for (int i = 0; i < na; ++i) to_b[i] = -1, kept[i] = 0.f;
  for (int j = 0; j < nb; ++j) to_a[j] = -1;
  if (!na || !nb) return;
  const bool flip = na > nb;
  const Matrix score = flip ? Matrix{scores, nb, na, 1, nb} : Matrix{scores, na, nb, nb, 1};
  Matching m = matching_in(scratch, job.max_peaks);
  match_rows(score, m);
  for (int row = 0; row < score.rows; ++row) {
    const int i = flip ? m.column_of[row] : row, j = flip ? row : m.column_of[row];
    const float value = scores[(Word)i * nb + j];
    if (!(value > job.link_threshold)) continue;
    to_b[i] = j;
    to_a[j] = i;
    kept[i] = value;
  }
}

// ---- assembly ----------------------------------------------------------------------------------

// Objects grown breadth first over the connections; returns how many.
static int assemble(const Job& job, Word* scratch) {
  const int total = job.offsets[job.keypoints], links = job.links;
  int* const keypoint_of = (int*)scratch;
  int* const queue = keypoint_of + total;
  int* const queued = queue + total;
  int* const first_end = queued + total;              // per keypoint, where its link ends start
  int* const ends = first_end + job.keypoints + 1;    // link * 2 + side, by keypoint in link order
  int filled = 0;
  for (int k = 0; k < job.keypoints; ++k) {
    for (int i = job.offsets[k]; i < job.offsets[k + 1]; ++i) keypoint_of[i] = k, queued[i] = 0;
    first_end[k] = filled;
    for (int l = 0; l < links; ++l) {
      if (job.table[l].a == k) ends[filled++] = 2 * l;
      if (job.table[l].b == k) ends[filled++] = 2 * l + 1;
    }
  }
  first_end[job.keypoints] = filled;
  int objects = 0;
  for (int seed = 0; seed < total && objects < job.max_objects; ++seed) {
    if (queued[seed]) continue;
    int* const row = job.objects + (Word)objects++ * job.keypoints;
    for (int k = 0; k < job.keypoints; ++k) row[k] = -1;
    int head = 0, tail = 0;
    queue[tail++] = seed;
    queued[seed] = 1;
    while (head < tail) {
      const int peak = queue[head++], k = keypoint_of[peak], i = peak - job.offsets[k];
      row[k] = i;
      for (int e = first_end[k]; e < first_end[k + 1]; ++e) {
        const int l = ends[e] >> 1, side = ends[e] & 1;
        const int other = job.connections[((Word)l * 2 + side) * job.max_peaks + i];
        if (other < 0) continue;
        const int next = job.offsets[side ? job.table[l].a : job.table[l].b] + other;
        if (!queued[next]) queued[next] = 1, queue[tail++] = next;
      }
    }
  }
  return objects;
}

static float clamp(float v, float low, float high) { return v < low ? low : v > high ? high : v; }

// Coordinates and scores of the objects, as `Decoded` of the twin.
static void write_poses(const Job& job, int objects) {
  const float h = (float)job.height, w = (float)job.width;
  for (int n = 0; n < objects; ++n) {
    const int* const row = job.objects + (Word)n * job.keypoints;
    float* out = job.poses + (Word)n * job.keypoints * 3;
    for (int k = 0; k < job.keypoints; ++k, out += 3) {
      if (row[k] < 0) {
        out[0] = out[1] = out[2] = 0.f;
        continue;
      }
      const int peak = job.offsets[k] + row[k], cell = job.cells[peak];
      float y = job.positions[2 * peak], x = job.positions[2 * peak + 1];
      if (!(y - y == 0.f && x - x == 0.f)) {
        y = ((float)(cell / job.width) + 0.5f) / h;
        x = ((float)(cell % job.width) + 0.5f) / w;
      }
      out[0] = clamp(x, 0.f, 1.f);
      out[1] = clamp(y, 0.f, 1.f);
      out[2] = clamp(job.confidence[peak], 1e-6f, 1.f);
    }
    float* const scores = job.pose_links + (Word)n * job.links;
    for (int l = 0; l < job.links; ++l) {
      const int a = row[job.table[l].a], b = row[job.table[l].b];
      const bool matched =
          a >= 0 && b >= 0 && job.connections[(Word)l * 2 * job.max_peaks + a] == b;
      scores[l] = matched ? clamp(job.link_scores[(Word)l * job.max_peaks + a], 0.f, 1.f) : 0.f;
    }
  }
}

// ---- what the library offers ---------------------------------------------------------------------

// Size of `scratch` in 8-byte words.
EP_EXPORT Word decode_scratch_words(const Job* job) {
  const Word peaks = (Word)job->keypoints * job->max_peaks, most = job->max_peaks;
  const Word match = 3 * most + (5 * most + 1) / 2;
  const Word build = (3 * peaks + job->keypoints + 1 + 2 * job->links + 1) / 2;
  const Word find = (padded_floats(*job) + 1) / 2, integrate = (line_floats(*job) + 1) / 2;
  return peaks + larger(larger(find, integrate), larger(match, build)) + 8;
}

// Maps to objects; returns their number.
EP_EXPORT int decode(const Job* given) {
  const Job& job = *given;
  float* const pixels = (float*)job.scratch;
  Word* const scratch = job.scratch + (Word)job.keypoints * job.max_peaks;
  all_peaks(job, pixels, (float*)scratch);
  float* scores = job.scores;
  for (int k = 0; k < job.links; ++k) {
    const EpLink link = job.table[k];
    link_scores(job, link, pixels, (float*)scratch, scores);
    assign_link(job, k, scores, scratch);
    if (job.keep_scores)
      scores += (Word)(job.offsets[link.a + 1] - job.offsets[link.a]) *
                (job.offsets[link.b + 1] - job.offsets[link.b]);
  }
  const int objects = assemble(job, scratch);
  write_poses(job, objects);
  return objects;
}

// Peaks and scores from the GPU to objects: offsets, cells, positions, confidence and the scores of
// all links are given; returns the number of objects.
EP_EXPORT int decode_rest(const Job* given) {
  const Job& job = *given;
  Word* const scratch = job.scratch + (Word)job.keypoints * job.max_peaks;
  const float* scores = job.scores;
  for (int k = 0; k < job.links; ++k) {
    const EpLink link = job.table[k];
    assign_link(job, k, scores, scratch);
    scores += (Word)(job.offsets[link.a + 1] - job.offsets[link.a]) *
              (job.offsets[link.b + 1] - job.offsets[link.b]);
  }
  const int objects = assemble(job, scratch);
  write_poses(job, objects);
  return objects;
}

#ifndef EP_SOURCES
#define EP_SOURCES ""
#endif
// Digest of the sources this library was built from.
EP_EXPORT const char* sources_digest() { return EP_SOURCES; }
