// Drawing into a picture: capsules (links, discs) and boxes. Definition: edgepose/cuda/twins.py.
#include "portable.h"

#define EP_OVERLAY_THREADS 256
#define EP_TILE_WIDTH 32
#define EP_TILE_HEIGHT 8

enum EpShapeKind { EP_CAPSULE, EP_BOX, EP_FILLED_BOX };

// A capsule from (x0, y0) to (x1, y1) (a disc where both are equal), or a box with those corners;
// radius is half the line width. Pixels, centres at .5; colour 0..255; alpha 0..1.
struct EpShape {
  int kind;
  float x0, y0, x1, y1, radius;
  float color[3], alpha;
};

EP_INLINE float ep_distance(const EpShape& shape, float x, float y) {
  if (shape.kind == EP_CAPSULE) {
    const float dx = shape.x1 - shape.x0, dy = shape.y1 - shape.y0;
    const float px = x - shape.x0, py = y - shape.y0;
    const float length = dx * dx + dy * dy;
    float t = length > 0.f ? (px * dx + py * dy) / length : 0.f;
    t = ep_min(ep_max(t, 0.f), 1.f);
    const float ex = px - t * dx, ey = py - t * dy;
    return ep_sqrt(ex * ex + ey * ey);
  }
  const float outside_x = ep_max(shape.x0 - x, x - shape.x1);
  const float outside_y = ep_max(shape.y0 - y, y - shape.y1);
  const float inside = ep_min(ep_max(outside_x, outside_y), 0.f);
  const float ex = ep_max(outside_x, 0.f), ey = ep_max(outside_y, 0.f);
  const float distance = ep_sqrt(ex * ex + ey * ey) + inside;  // signed: negative inside
  if (shape.kind == EP_FILLED_BOX) return distance;
  return distance < 0.f ? -distance : distance;
}

// Part of a pixel that the shape covers, by the distance of its centre: a ramp of one pixel.
EP_INLINE float ep_coverage(const EpShape& shape, float x, float y) {
  return ep_min(ep_max(shape.radius + 0.5f - ep_distance(shape, x, y), 0.f), 1.f);
}

// Does the shape reach the tile of pixel centres x0..x1, y0..y1?
EP_INLINE bool ep_touches(const EpShape& shape, float x0, float y0, float x1, float y1) {
  const float reach = shape.radius + 0.5f;
  return ep_min(shape.x0, shape.x1) - reach < x1 && ep_max(shape.x0, shape.x1) + reach > x0 &&
         ep_min(shape.y0, shape.y1) - reach < y1 && ep_max(shape.y0, shape.y1) + reach > y0;
}

// Grid (tiles across, tiles down), one thread a pixel of the tile. Shapes are blended in their order
// in float and rounded once, so overlaps do not depend on timing. `bgr` swaps red and blue.
EP_KERNEL ep_overlay(unsigned char* pixels, int width, int height, int pitch, int stride, int bgr,
                     const EpShape* shapes, int count) {
  EP_SHARED int hits[EP_OVERLAY_THREADS];
  EP_SHARED unsigned hit_words[EP_OVERLAY_THREADS / 32];  // a bit a shape, so that misses cost nothing
  EP_SHARED float blended[3][EP_OVERLAY_THREADS];
  EP_SHARED int changed[EP_OVERLAY_THREADS];
  const int left = EP_BLOCK_X * EP_TILE_WIDTH, top = EP_BLOCK_Y * EP_TILE_HEIGHT;
  const float x0 = (float)left + 0.5f, y0 = (float)top + 0.5f;
  const float x1 = x0 + (EP_TILE_WIDTH - 1), y1 = y0 + (EP_TILE_HEIGHT - 1);
  EP_THREADS(t) changed[t] = 0;
  for (int begin = 0; begin < count; begin += EP_OVERLAY_THREADS) {
    const int chunk = ep_min(count - begin, EP_OVERLAY_THREADS);
    EP_THREADS(t) {
      hits[t] = t < chunk && ep_touches(shapes[begin + t], x0, y0, x1, y1);
    }
    EP_BARRIER();
    EP_THREADS(t) {
      if (t >= EP_OVERLAY_THREADS / 32) continue;
      unsigned word = 0;
      for (int bit = 0; bit < 32; ++bit) word |= (unsigned)hits[32 * t + bit] << bit;
      hit_words[t] = word;
    }
    EP_BARRIER();
    EP_THREADS(t) {
      const int x = left + t % EP_TILE_WIDTH, y = top + t / EP_TILE_WIDTH;
      if (x >= width || y >= height) continue;
      for (int w = 0; w < EP_OVERLAY_THREADS / 32; ++w)
        for (unsigned word = hit_words[w]; word; word &= word - 1) {
          const EpShape& shape = shapes[begin + 32 * w + ep_lowest_bit(word)];
          const float alpha = ep_coverage(shape, (float)x + 0.5f, (float)y + 0.5f) * shape.alpha;
          if (!(alpha > 0.f)) continue;
          const unsigned char* pixel = pixels + (long long)y * pitch + x * stride;
          for (int c = 0; c < 3; ++c) {
            const float before = changed[t] ? blended[c][t] : (float)pixel[bgr ? 2 - c : c];
            blended[c][t] = before + (shape.color[c] - before) * alpha;
          }
          changed[t] = 1;
        }
    }
    EP_BARRIER();
  }
  EP_THREADS(t) {
    if (!changed[t]) continue;
    const int x = left + t % EP_TILE_WIDTH, y = top + t / EP_TILE_WIDTH;
    unsigned char* pixel = pixels + (long long)y * pitch + x * stride;
    for (int c = 0; c < 3; ++c)
      pixel[bgr ? 2 - c : c] =
          (unsigned char)(ep_min(ep_max(blended[c][t], 0.f), 255.f) + 0.5f);
  }
}
