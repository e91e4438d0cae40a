// What MoveNet's decoder computes alike on the GPU and on the host. Definition: edgepose/decode/movenet.py.
#pragma once
#include "portable.h"

#define EP_CELL 4.0f     // input pixels to a cell
#define EP_SPREAD 0.3f   // variance of the weight around a guess, times the shorter side in cells

// The part of [0, size] nearest to a place; NaN is 0.
EP_INLINE float ep_inside(float place, float size) { return place > 0.f ? ep_min(place, size) : 0.f; }

// The sides of a box along one axis, inside the map.
EP_INLINE void ep_box_sides(int cell, float scale, float offset, int size, float* low, float* high) {
  const float half = ep_max(scale, 0.f) / 2.f, middle = (float)cell + offset;
  *low = ep_inside(middle - half, (float)size);
  *high = ep_inside(middle + half, (float)size);
}

// The first cell whose number is not below a place; places are not negative.
EP_INLINE int ep_first_cell(float place) { return (int)-ep_floor(-place); }

// exp(-apart^2 / spread): by elementary operations alone, so that it has the same bits everywhere. Powers of
// two by the exponent, the rest by a polynomial (error below 1e-7 of the value); below e^-87, and of NaN, 0.
EP_INLINE float ep_falloff(float apart, float spread) {
  const float u = apart * apart / spread;
  if (!(u <= 87.f)) return 0.f;
  const float twos = ep_floor(u * 1.44269504f + 0.5f);
  const float x = twos * -2.12194440e-4f - (u - twos * 0.693359375f);
  float y = 1.9875691500e-4f;
  y = y * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 0.5f;
  return (y * (x * x) + x + 1.f) * ep_float((127 - (int)twos) << 23);
}
