// MoveNet's six heads to people in one call: the numpy twin is edgepose/decode/movenet.py.
// A keypoint's best cell is searched outwards from its regressed place; the Gaussian only falls on the way, so
// the search ends as soon as no cell beyond can win. Results are those of looking at every cell.
#include <math.h>

#include "host.h"
#include "movenet.h"

// The caller owns all memory. Mirrors `_Job` in movenet.py; maps are (channels, rows, columns).
struct MoveNet {
  const float* center;
  const float* box_scale;
  const float* box_offset;
  const float* heat;
  const float* regress;
  const float* offset;
  int keypoints, rows, columns, people;
  float center_threshold;
  float* points;  // people * keypoints * 3: x, y in input pixels, score
  float* boxes;   // people * 4, x0 y0 x1 y1 in input pixels
  float* scores;  // people: the centre times the mean of the visible keypoints
  Word* scratch;  // movenet_scratch_words(...)
};

static const float VISIBLE = 0.127f;

namespace {

// Room for floats inside the scratch memory, in this order.
struct Room {
  float* padded;   // the centre map with a border of two cells
  float* along;    // largest of five cells of each row
  float* highest;  // largest of each row of each heatmap
  float* limits;   // people * 4, y0 x0 y1 x1 in cells
  float* across;   // weights along a row, negative where not known yet
  int* cells;      // of the people's centres
};

Word padded_cells(const MoveNet& job) { return (Word)(job.rows + 4) * (job.columns + 4); }

Room room_in(const MoveNet& job) {
  Room room;
  room.padded = (float*)job.scratch;
  room.along = room.padded + padded_cells(job);
  room.highest = room.along + padded_cells(job);
  room.limits = room.highest + (Word)job.keypoints * job.rows;
  room.across = room.limits + (Word)job.people * 4;
  room.cells = (int*)(room.across + job.columns);
  return room;
}

// ---- centres -----------------------------------------------------------------------------------

EP_CLONES void largest_of_five(const float* __restrict__ from, Word step, Word count,
                               float* __restrict__ to) {
  for (Word i = 0; i < count; ++i) {
    float most = from[i];
    for (int j = 1; j < 5; ++j) most = from[i + j * step] > most ? from[i + j * step] : most;
    to[i] = most;
  }
}

// Puts a cell among the people, by falling height; of equal ones the earlier stays in front.
int insert_cell(const MoveNet& job, int* cells, int count, int cell) {
  int at = count < job.people ? count : job.people;
  while (at > 0 && job.center[cells[at - 1]] < job.center[cell]) --at;
  if (at >= job.people) return count;
  const int last = count < job.people ? count : job.people - 1;
  for (int i = last; i > at; --i) cells[i] = cells[i - 1];
  cells[at] = cell;
  return last + 1;
}

int find_centers(const MoveNet& job, const Room& room) {
  const Word pitch = job.columns + 4;
  for (Word i = 0; i < padded_cells(job); ++i) room.padded[i] = -__builtin_inff();
  for (int y = 0; y < job.rows; ++y)
    for (int x = 0; x < job.columns; ++x)
      room.padded[(y + 2) * pitch + x + 2] = job.center[(Word)y * job.columns + x];
  largest_of_five(room.padded, 1, padded_cells(job) - 4, room.along);
  largest_of_five(room.along, pitch, job.rows * pitch - 4, room.padded);
  int count = 0;
  for (int y = 0; y < job.rows; ++y)
    for (int x = 0; x < job.columns; ++x) {
      const int cell = y * job.columns + x;
      const float value = job.center[cell];
      if (value > job.center_threshold && value >= room.padded[y * pitch + x])
        count = insert_cell(job, room.cells, count, cell);
    }
  return count;
}

// ---- boxes -------------------------------------------------------------------------------------

void box_of(const MoveNet& job, const Room& room, int person) {
  const int cell = room.cells[person], map = job.rows * job.columns;
  const int place[2] = {cell / job.columns, cell % job.columns};
  const int size[2] = {job.rows, job.columns};
  for (int axis = 0; axis < 2; ++axis) {
    float* limits = room.limits + person * 4 + axis;
    ep_box_sides(place[axis], job.box_scale[axis * map + cell], job.box_offset[axis * map + cell],
                 size[axis], limits, limits + 2);
    job.boxes[person * 4 + 1 - axis] = limits[0] * EP_CELL;
    job.boxes[person * 4 + 3 - axis] = limits[2] * EP_CELL;
  }
}

// ---- keypoints ---------------------------------------------------------------------------------

EP_CLONES float highest_of(const float* cells, int count) {
  float most = cells[0];
  for (int i = 1; i < count; ++i) most = cells[i] > most ? cells[i] : most;
  return most;
}

// A search along one axis: the cells of [low, high) of the box, and the one nearest to the first place.
struct Span {
  int begin, end, middle;
};

Span span_of(int begin, int end, float first) {
  const float near = rintf(first);
  const int middle = !(near > begin) ? begin : near > end - 1 ? end - 1 : (int)near;
  return {begin, end, middle};
}

struct Best {
  float value;
  int cell;
};

void consider(Best* best, float value, int cell) {
  if (value > best->value || (value == best->value && cell < best->cell)) *best = {value, cell};
}

struct Search {
  const MoveNet& job;
  const float* heat;   // of the keypoint
  const float* row_highest;
  float* across;
  float x, spread;
  Span columns;

  float column_weight(int column) const {
    if (across[column] < 0) across[column] = ep_falloff((float)column - x, spread);
    return across[column];
  }

  // One direction along a row; false where no cell beyond can win.
  void along(int row, float down, int step, Best* best) const {
    const int from = step > 0 ? columns.middle : columns.middle - 1;
    for (int c = from; c >= columns.begin && c < columns.end; c += step) {
      const float w = column_weight(c);
      if (row_highest[row] * down * w < best->value) return;
      consider(best, heat[(Word)row * job.columns + c] * down * w, row * job.columns + c);
    }
  }

  void row(int row, float down, Best* best) const {
    along(row, down, 1, best);
    along(row, down, -1, best);
  }
};

int best_cell(const MoveNet& job, const Room& room, int person, int k) {
  const int cell = room.cells[person], map = job.rows * job.columns;
  const int y = cell / job.columns, x = cell % job.columns;
  const float first[2] = {(float)y + job.regress[2 * k * map + cell],
                          (float)x + job.regress[(2 * k + 1) * map + cell]};
  const float* limits = room.limits + person * 4;
  int top = ep_first_cell(limits[0]), left = ep_first_cell(limits[1]);
  int bottom = ep_first_cell(limits[2]), right = ep_first_cell(limits[3]);
  if (bottom <= top || right <= left) top = y, left = x, bottom = y + 1, right = x + 1;
  const float spread = EP_SPREAD * (float)ep_min(job.rows, job.columns);
  const Span rows = span_of(top, bottom, first[0]), columns = span_of(left, right, first[1]);
  for (int i = left; i < right; ++i) room.across[i] = -1.0f;
  const float* row_highest = room.highest + (Word)k * job.rows;
  const float most = highest_of(row_highest + top, bottom - top);
  const Search search = {job,      job.heat + (Word)k * map, row_highest, room.across,
                         first[1], spread,                   columns};
  Best best = {0.0f, top * job.columns + left};
  for (int step = 1; step >= -1; step -= 2) {
    const int from = step > 0 ? rows.middle : rows.middle - 1;
    for (int r = from; r >= rows.begin && r < rows.end; r += step) {
      const float down = ep_falloff((float)r - first[0], spread);
      if (most * down < best.value || down == 0) break;
      if (!(row_highest[r] * down < best.value)) search.row(r, down, &best);
    }
  }
  return best.cell;
}

void place_person(const MoveNet& job, const Room& room, int person) {
  const Word map = (Word)job.rows * job.columns;
  float sum = 0;
  int seen = 0;
  for (int k = 0; k < job.keypoints; ++k) {
    const int cell = best_cell(job, room, person, k);
    float* point = job.points + (person * job.keypoints + k) * 3;
    point[0] = ((float)(cell % job.columns) + job.offset[(2 * k + 1) * map + cell]) * EP_CELL;
    point[1] = ((float)(cell / job.columns) + job.offset[2 * k * map + cell]) * EP_CELL;
    point[2] = job.heat[k * map + cell];
    if (point[2] > VISIBLE) sum += point[2], ++seen;
  }
  job.scores[person] = job.center[room.cells[person]] * (sum / (float)(seen > 1 ? seen : 1));
}

}  // namespace

// 64-bit words of scratch memory that a job needs.
EP_EXPORT Word movenet_scratch_words(const MoveNet* job) {
  const Word floats = 2 * padded_cells(*job) + (Word)job->keypoints * job->rows + job->columns +
                      (Word)job->people * 5 + 1;
  return floats / 2 + 1;
}

// Number of people found; points, boxes and scores of each are written.
EP_EXPORT int decode_movenet(const MoveNet* job) {
  const Room room = room_in(*job);
  const int count = find_centers(*job, room);
  if (!count) return 0;
  for (Word i = 0; i < (Word)job->keypoints * job->rows; ++i)
    room.highest[i] = highest_of(job->heat + i * job->columns, job->columns);
  for (int i = 0; i < count; ++i) {
    box_of(*job, room, i);
    place_person(*job, room, i);
  }
  return count;
}
