// What the decoding kernels pass on to each other.
#pragma once

// A peak: its cell (row * width + column), its refined position and its confidence.
struct EpPeak {
  int cell;
  float y, x, score;
};

// A row of the topology's table.
struct EpLink {
  int y_channel, x_channel, a, b;
};
