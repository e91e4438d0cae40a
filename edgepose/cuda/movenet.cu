// MoveNet's six maps to people: centres with their boxes, then a block for each keypoint of a person.
// Definition: edgepose/decode/movenet.py.
#include "movenet.h"
#include "peaks.cu"
#include "portable.h"

#define EP_JOINT_THREADS 128
#define EP_LANES 32
#define EP_SIDE 512  // cells of a map's side at most

// A person: the cell of the centre and its score, the box in cells.
struct EpPerson {
  int cell;
  float score, top, left, bottom, right;
};

// How many of the candidates come before one of them: higher ones, and equal ones in an earlier cell. Ends
// where it is clear that so many do.
EP_INLINE int ep_rank(const float* map, const int* candidates, int count, int cell, int most) {
  const float value = map[cell];
  int rank = 0;
  for (int i = 0; i < count && rank < most; ++i) {
    const int other = candidates[i];
    rank += map[other] > value || (map[other] == value && other < cell);
  }
  return rank;
}

// One block of EP_PEAK_THREADS a picture: grid (batch). The peaks of the centre map, by falling height: at most
// `most`, their number in words[0] and EpPerson after EpPerson from words[4] on. `candidates` has room for all
// cells of a batch.
EP_KERNEL ep_centers(const float* center, const float* scale, const float* offset, int height, int width,
                     float threshold, int most, int* words, long long item_words, int* candidates) {
  EP_SHARED int sums[2][EP_PEAK_THREADS], first[EP_PEAK_THREADS];
  const int cells = height * width;
  const int run = (cells + EP_THREAD_COUNT - 1) / EP_THREAD_COUNT;
  const long long before = (long long)EP_BLOCK_X * cells;
  const float* map = center + before;
  scale += 2 * before;
  offset += 2 * before;
  candidates += before;
  words += EP_BLOCK_X * item_words;

  EP_THREADS(t) {
    int found = 0;
    for (int cell = t * run; cell < ep_min(t * run + run, cells); ++cell)
      if (map[cell] > threshold && ep_is_peak(map, height, width, cell, threshold, 2) && !found++)
        first[t] = cell;
    sums[0][t] = found;
  }
  EP_BARRIER();
  const int from = ep_prefix_sums(sums);
  const int total = sums[from][EP_THREAD_COUNT - 1];
  EP_THREADS(t) {
    int at = t ? sums[from][t - 1] : 0;
    const int end = sums[from][t];
    if (at < end) {
      int cell = first[t];
      for (candidates[at++] = cell++; at < end; ++cell)
        if (map[cell] > threshold && ep_is_peak(map, height, width, cell, threshold, 2)) candidates[at++] = cell;
    }
  }
  EP_BARRIER();
  EP_THREADS(t) {
    if (t == 0) words[0] = ep_min(total, most);
    for (int i = t; i < total; i += EP_THREAD_COUNT) {
      const int cell = candidates[i], rank = ep_rank(map, candidates, total, cell, most);
      if (rank >= most) continue;
      EpPerson* person = (EpPerson*)(words + 4) + rank;
      person->cell = cell;
      person->score = map[cell];
      const int y = cell / width, x = cell - y * width;
      ep_box_sides(y, scale[cell], offset[cell], height, &person->top, &person->bottom);
      ep_box_sides(x, scale[cells + cell], offset[cells + cell], width, &person->left, &person->right);
    }
  }
}

// Grid (any, keypoints, batch), EP_JOINT_THREADS threads: the strongest place of a keypoint's map inside a
// person's box, weighted by the distance from the guess; of equal ones the first. x, y in input pixels and the
// map's own value lie at words[points_at] for person after person, keypoint after keypoint.
EP_KERNEL ep_joints(const float* heat, const float* regress, const float* offset, int keypoints, int height,
                    int width, int points_at, int* words, long long item_words) {
  EP_SHARED float down[EP_SIDE], across[EP_SIDE], values[EP_JOINT_THREADS];
  EP_SHARED int cells[EP_JOINT_THREADS];
  const int k = EP_BLOCK_Y, map = height * width;
  const long long before = ((long long)EP_BLOCK_Z * keypoints + k) * map;
  heat += before;
  regress += 2 * before;
  offset += 2 * before;
  words += EP_BLOCK_Z * item_words;
  const float spread = EP_SPREAD * (float)ep_min(height, width);

  for (int number = EP_BLOCK_X; number < words[0]; number += EP_GRID_X) {
    const EpPerson* person = (const EpPerson*)(words + 4) + number;
    const int centre = person->cell, y = centre / width, x = centre - y * width;
    int top = ep_first_cell(person->top), bottom = ep_first_cell(person->bottom);
    int left = ep_first_cell(person->left), right = ep_first_cell(person->right);
    if (bottom <= top || right <= left) top = y, left = x, bottom = y + 1, right = x + 1;
    const float guess_y = (float)y + regress[centre], guess_x = (float)x + regress[map + centre];

    EP_THREADS(t) {
      for (int i = top + t; i < bottom; i += EP_THREAD_COUNT) down[i] = ep_falloff((float)i - guess_y, spread);
      for (int i = left + t; i < right; i += EP_THREAD_COUNT)
        across[i] = ep_falloff((float)i - guess_x, spread);
    }
    EP_BARRIER();
    EP_THREADS(t) {
      float best = 0.f;
      int at = top * width + left;
      for (int row = top + t / EP_LANES; row < bottom; row += EP_THREAD_COUNT / EP_LANES) {
        if (down[row] == 0.f) continue;
        for (int column = left + t % EP_LANES; column < right; column += EP_LANES) {
          const float value = heat[row * width + column] * down[row] * across[column];
          if (value > best) best = value, at = row * width + column;
        }
      }
      values[t] = best;
      cells[t] = at;
    }
    EP_BARRIER();
    for (int half = EP_THREAD_COUNT / 2; half; half /= 2) {
      EP_THREADS(t) {
        const int o = t + half;
        if (t < half && (values[o] > values[t] || (values[o] == values[t] && cells[o] < cells[t])))
          values[t] = values[o], cells[t] = cells[o];
      }
      EP_BARRIER();
    }
    EP_THREADS(t) {
      if (t == 0) {
        const int at = cells[0], row = at / width;
        float* point = (float*)words + points_at + (number * keypoints + k) * 3;
        point[0] = ((float)(at - row * width) + offset[map + at]) * EP_CELL;
        point[1] = ((float)row + offset[at]) * EP_CELL;
        point[2] = heat[at];
      }
    }
    EP_BARRIER();
  }
}
