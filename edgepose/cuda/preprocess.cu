// Pictures to network input: colour, scale, crop, normalise. Definition: edgepose/cuda/twins.py.
#include "portable.h"

#define EP_STRIP 8192  // floats of shared memory for one strip of summed source columns

#define EP_IMAGES 16

#define EP_GREY 127.f  // of output pixels outside of a picture's window

// Sixteen bytes of a row, and what is made of four of them: read and stored at once.
struct alignas(16) EpWords {
  unsigned word[4];
};
struct alignas(16) EpFour {
  float value[4];
};

enum EpFormat { EP_RGB8, EP_RGBA8, EP_BGR8, EP_BGRA8, EP_NV12, EP_I420 };

// One picture of a batch. Chroma samples lie in the middle of the pixels that share them.
struct EpImage {
  const unsigned char* plane[3];
  int pitch[3], format;
  int width, height, slot, samples;  // slot: its place in the output batch; samples: see ep_warp
  int masked, left, top, right, bottom;  // masked: output pixels outside of the window are grey
  float inverse[6];                 // from output pixels to source pixels, centres at .5
  float yuv[6];                     // y offset, y gain, red of v, green of u, green of v, blue of u
};

// The pictures of one launch, by value: nothing to upload and nothing to keep alive. Larger batches
// are several launches.
struct EpImages {
  EpImage item[EP_IMAGES];
};

// What the output looks like: value * gain + offset by output channel.
struct EpTensor {
  void* data;
  int width, height, half, bgr;
  int pixel, channel, picture;  // values from one pixel, channel and picture to the next
  float gain[3], offset[3], pad;
};

// The source pixels behind one output pixel along one axis: two taps (bilinear), or a box, every pixel
// that it covers by the length covered: along axes that shrink, where either shrinks more than twofold.
// Only the first and the last pixel of a box can be covered in part, so those between weigh 1.
struct EpTaps {
  int first, count;
  float head, tail, norm;  // weight of the first; of the last of two and more
};

// The centre lies in the picture, from 0 to below `size`, so nothing is clamped twice.
EP_INLINE EpTaps ep_taps(float centre, float scale, bool shrinks, int size) {
  EpTaps taps;
  if (shrinks && scale > 1.f) {
    const float low = ep_max(centre - scale * 0.5f, 0.f), high = ep_min(centre + scale * 0.5f, (float)size);
    taps.first = (int)low;
    int last = (int)high;
    if ((float)last == high) --last;  // the box ends where that pixel begins
    taps.count = last - taps.first + 1;
    taps.head = ep_min(high, (float)(taps.first + 1)) - low;
    taps.tail = high - (float)last;
    taps.norm = 1.f / (high - low);
  } else {
    const float position = centre - 0.5f, whole = ep_floor(position);
    const int left = (int)whole;
    taps.first = ep_max(left, 0);
    taps.count = ep_min(left + 1, size - 1) - taps.first + 1;
    taps.tail = taps.count == 2 ? position - whole : 0.f;
    taps.head = 1.f - taps.tail;
    taps.norm = 1.f;
  }
  return taps;
}

EP_INLINE float ep_abs(float v) { return v < 0.f ? -v : v; }
EP_INLINE bool ep_is_yuv(int format) { return format == EP_NV12 || format == EP_I420; }
EP_INLINE int ep_pixel_bytes(int format) {
  return format == EP_RGBA8 || format == EP_BGRA8 ? 4 : ep_is_yuv(format) ? 1 : 3;
}

EP_INLINE void ep_yuv_to_rgb(const EpImage& image, float y, float u, float v, float rgb[3]) {
  const float* m = image.yuv;
  const float luma = (y - m[0]) * m[1], cb = u - 128.f, cr = v - 128.f;
  rgb[0] = luma + m[2] * cr;
  rgb[1] = luma + (m[3] * cb + m[4] * cr);
  rgb[2] = luma + m[5] * cb;
  for (int c = 0; c < 3; ++c) rgb[c] = ep_min(ep_max(rgb[c], 0.f), 255.f);
}

// Where the first channel of an output pixel lies.
EP_INLINE long long ep_place(const EpTensor& out, int slot, int pixel) {
  return (long long)slot * out.picture + pixel * out.pixel;
}

EP_INLINE void ep_store(const EpTensor& out, long long place, float r, float g, float b) {
  const float v0 = (out.bgr ? b : r) * out.gain[0] + out.offset[0], v1 = g * out.gain[1] + out.offset[1],
              v2 = (out.bgr ? r : b) * out.gain[2] + out.offset[2];
  if (out.half) {
    unsigned short* const to = (unsigned short*)out.data + place;
    to[0] = ep_half(v0), to[out.channel] = ep_half(v1), to[2 * out.channel] = ep_half(v2);
  } else {
    float* const to = (float*)out.data + place;
    to[0] = v0, to[out.channel] = v1, to[2 * out.channel] = v2;
  }
}

// One byte's value for this thread's share of the pixels from `x` to `end` of a row.
EP_INLINE void ep_fill(const EpTensor& out, long long row, int x, int end, float byte) {
  EP_NO_UNROLL
  for (; x < end; x += EP_THREAD_COUNT) ep_store(out, row + x * out.pixel, byte, byte, byte);
}

// Sixteen bytes of a row from byte `at` on: at once where addresses are multiples of 16, else by words, else
// by bytes; those at `end` and beyond it may be anything.
EP_INLINE EpWords ep_words(const unsigned char* row, int at, int end, int row_bytes, unsigned odd) {
  EpWords words;
  if (!(odd & 15u) && at + 16 <= row_bytes) return *(const EpWords*)(row + at);
  for (int w = 0; w < 4; ++w, at += 4) {
    if (!(odd & 3u) && at + 4 <= row_bytes) {
      words.word[w] = ep_word(row + at);
      continue;
    }
    unsigned word = 0;
    for (int b = 3; b >= 0; --b) word = word << 8 | (at + b < end ? row[at + b] : 0u);
    words.word[w] = word;
  }
  return words;
}

// Sums over the rows of `taps` of the bytes from `begin` (a multiple of 16) to `end` of a plane whose rows
// hold `row_bytes`. Rows between the first and the last are whole: they are summed as integers, two in a
// word, and added every 256 rows.
EP_INLINE void ep_sum_rows(const unsigned char* plane, int pitch, int row_bytes, const EpTaps& taps,
                           int begin, int end, EpFour* sums, int t, int threads) {
  const unsigned odd = (unsigned)(unsigned long long)plane | (unsigned)pitch;
  const unsigned char* const first = plane + (long long)taps.first * pitch;
  for (int at = begin + 16 * t; at < end; at += 16 * threads) {
    const unsigned char* row = first;
    float sum[16];
    unsigned even[4], uneven[4];
    EP_NO_UNROLL
    for (int i = 0; i < taps.count; ++i, row += pitch) {
      const EpWords words = ep_words(row, at, end, row_bytes, odd);
      if (i == 0) {
        for (int b = 0; b < 16; ++b) sum[b] = taps.head * ep_byte(words.word[b / 4], b % 4);
        for (int w = 0; w < 4; ++w) even[w] = uneven[w] = 0;
        continue;
      }
      const bool last = i == taps.count - 1;
      if (!last)
        for (int w = 0; w < 4; ++w) {
          even[w] += words.word[w] & 0xff00ffu;
          uneven[w] += (words.word[w] >> 8) & 0xff00ffu;
        }
      if (last ? i > 1 : i % 256 == 0)
        for (int w = 0; w < 4; ++w) {
          sum[4 * w] += (float)(even[w] & 0xffffu);
          sum[4 * w + 1] += (float)(uneven[w] & 0xffffu);
          sum[4 * w + 2] += (float)(even[w] >> 16);
          sum[4 * w + 3] += (float)(uneven[w] >> 16);
          even[w] = uneven[w] = 0;
        }
      if (last)
        for (int b = 0; b < 16; ++b) sum[b] += taps.tail * ep_byte(words.word[b / 4], b % 4);
    }
    EpFour* const to = sums + (at - begin) / 4;
    for (int w = 0; w < 4; ++w) {
      EpFour four;
      for (int b = 0; b < 4; ++b) four.value[b] = sum[4 * w + b];
      to[w] = four;
    }
  }
}

// Weighted sums of N channels over the columns of `taps`, whose first pixel lies at `from`.
template <int N>
EP_INLINE void ep_sum_columns(const float* from, int stride, const EpTaps& taps, float* sums) {
  for (int c = 0; c < N; ++c) sums[c] = taps.head * from[c];
  EP_NO_UNROLL
  for (int i = 1; i < taps.count - 1; ++i) {
    from += stride;
    for (int c = 0; c < N; ++c) sums[c] += from[c];
  }
  if (taps.count == 1) return;
  from += stride;
  for (int c = 0; c < N; ++c) sums[c] += taps.tail * from[c];
}

// Source columns that hold all behind output columns x0 to x1 - 1: half a box or two taps around them.
EP_INLINE void ep_columns(float a, float c, float scale, int size, int x0, int x1, int* first, int* end) {
  const float left = ((float)x0 + 0.5f) * a + c, right = ((float)(x1 - 1) + 0.5f) * a + c;
  const float reach = ep_max(scale * 0.5f, 1.5f);
  *first = ep_clamp((int)(ep_min(left, right) - reach), 0, size - 1);
  *end = ep_clamp((int)(ep_max(left, right) + reach) + 1, *first + 1, size);
}

// One plane of a picture and the part of it behind a strip of output: the rows, the columns, and their sums.
struct EpStrip {
  const unsigned char* plane;
  int pitch, stride, width, origin, end;  // stride: bytes a pixel; origin, end: bytes of a row
  float a, c;                             // from output to source columns
  float scale;
  bool shrinks;
  EpTaps rows;
};

// `part`: 1, or .5 for chroma; x0 to x1: output columns; y: centre of the source rows in pixels.
EP_INLINE EpStrip ep_strip(const EpImage& image, int plane, int stride, float part, int x0, int x1, float y) {
  EpStrip strip;
  const int height = part < 1.f ? (image.height + 1) / 2 : image.height;
  const float scale_y = ep_abs(image.inverse[4]) * part;
  strip.plane = image.plane[plane], strip.pitch = image.pitch[plane], strip.stride = stride;
  strip.width = part < 1.f ? (image.width + 1) / 2 : image.width;
  strip.a = image.inverse[0] * part, strip.c = image.inverse[2] * part;
  strip.scale = ep_abs(strip.a);
  strip.shrinks = ep_max(strip.scale, scale_y) > 2.f;
  strip.rows = ep_taps(y * part, scale_y, strip.shrinks, height);
  int first, end;
  ep_columns(strip.a, strip.c, strip.scale, strip.width, x0, x1, &first, &end);
  strip.origin = (first * stride) & ~15, strip.end = end * stride;
  return strip;
}

EP_INLINE int ep_fours(const EpStrip& strip) { return (strip.end - strip.origin + 15) / 16 * 4; }

EP_INLINE void ep_sum_strip(const EpStrip& strip, EpFour* sums, int t) {
  ep_sum_rows(strip.plane, strip.pitch, strip.width * strip.stride, strip.rows, strip.origin, strip.end,
              sums, t, EP_THREAD_COUNT);
}

// N channels at an output column.
template <int N>
EP_INLINE void ep_sample(const EpStrip& strip, const EpFour* sums, float x, float* values) {
  const EpTaps taps = ep_taps(x * strip.a + strip.c, strip.scale, strip.shrinks, strip.width);
  ep_sum_columns<N>((const float*)sums + taps.first * strip.stride - strip.origin, strip.stride, taps, values);
  const float norm = taps.norm * strip.rows.norm;
  for (int k = 0; k < N; ++k) values[k] *= norm;
}

// Upright pictures: stretch, letterbox, straight crops. Grid (strips of `columns` output pixels, rows,
// pictures). First the rows behind one output row are summed, then the columns, so that every source
// byte is read once and in order. The launcher picks `columns` such that a strip fits. What lies behind
// masked output is not read.
EP_KERNEL ep_preprocess(EpImages images, EpTensor out, int columns) {
  EP_SHARED EpFour sums[EP_STRIP / 4];
  const EpImage& image = images.item[EP_BLOCK_Z];
  const int y = EP_BLOCK_Y, begin = EP_BLOCK_X * columns, end = ep_min(begin + columns, out.width);
  const float centre_y = ((float)y + 0.5f) * image.inverse[4] + image.inverse[5];
  bool row_inside = centre_y >= 0.f && centre_y < (float)image.height;
  int x0 = begin, x1 = end;  // columns that are shown
  if (image.masked) {
    const bool row_shown = y >= image.top && y < image.bottom;
    x0 = row_shown ? ep_clamp(image.left, begin, end) : end;
    x1 = row_shown ? ep_clamp(image.right, x0, end) : end;
    row_inside = row_inside && x0 < x1;
  }
  const long long line = ep_place(out, image.slot, y * out.width);
  EP_THREADS(t) {
    if (image.masked) {
      ep_fill(out, line, begin + t, x0, EP_GREY);
      ep_fill(out, line, x1 + t, end, EP_GREY);
    }
    if (!row_inside) ep_fill(out, line, x0 + t, x1, out.pad);
  }
  if (!row_inside) return;  // all of the block, before its barrier
  const bool yuv = ep_is_yuv(image.format), planar = image.format == EP_I420;
  EpStrip half, full = ep_strip(image, 0, ep_pixel_bytes(image.format), 1.f, x0, x1, centre_y);
  EpFour *u_sums = sums, *v_sums = sums;
  if (yuv) {
    half = ep_strip(image, 1, planar ? 1 : 2, 0.5f, x0, x1, centre_y);
    u_sums = sums + ep_fours(full);
    v_sums = u_sums + ep_fours(half);
  }
  EP_THREADS(t) {
    ep_sum_strip(full, sums, t);
    EP_NO_UNROLL
    for (int plane = 1; plane < (yuv ? (planar ? 3 : 2) : 1); ++plane) {
      half.plane = image.plane[plane], half.pitch = image.pitch[plane];
      ep_sum_strip(half, plane == 1 ? u_sums : v_sums, t);
    }
  }
  EP_BARRIER();
  EP_THREADS(t) {
    long long place = line + (x0 + t) * out.pixel;
    const int step = EP_THREAD_COUNT * out.pixel;
    for (int x = x0 + t; x < x1; x += EP_THREAD_COUNT, place += step) {
      const float at = (float)x + 0.5f, centre = at * image.inverse[0] + image.inverse[2];
      float rgb[3] = {out.pad, out.pad, out.pad};
      if (centre >= 0.f && centre < (float)image.width) {
        if (yuv) {
          float luma, cbcr[2];
          ep_sample<1>(full, sums, at, &luma);
          if (planar) {
            ep_sample<1>(half, u_sums, at, cbcr);
            ep_sample<1>(half, v_sums, at, cbcr + 1);
          } else {
            ep_sample<2>(half, u_sums, at, cbcr);
          }
          ep_yuv_to_rgb(image, luma, cbcr[0], cbcr[1], rgb);
        } else {
          ep_sample<3>(full, sums, at, rgb);
          if (image.format == EP_BGR8 || image.format == EP_BGRA8) {
            const float red = rgb[2];
            rgb[2] = rgb[0], rgb[0] = red;
          }
        }
      }
      ep_store(out, place, rgb[0], rgb[1], rgb[2]);
    }
  }
}

EP_INLINE float ep_bilinear(const unsigned char* plane, int pitch, int stride, int width, int height,
                            float x, float y) {
  const float px = x - 0.5f, py = y - 0.5f;
  const float left = ep_floor(px), top = ep_floor(py);
  const float fx = px - left, fy = py - top;
  const int x0 = ep_clamp((int)left, 0, width - 1) * stride;
  const int x1 = ep_clamp((int)left + 1, 0, width - 1) * stride;
  const unsigned char* row0 = plane + (long long)ep_clamp((int)top, 0, height - 1) * pitch;
  const unsigned char* row1 = plane + (long long)ep_clamp((int)top + 1, 0, height - 1) * pitch;
  const float upper = (float)row0[x0] + ((float)row0[x1] - (float)row0[x0]) * fx;
  const float lower = (float)row1[x0] + ((float)row1[x1] - (float)row1[x0]) * fx;
  return upper + (lower - upper) * fy;
}

// Rotated crops: a full affine map a picture. Grid (pixels, 1, pictures). Where the picture shrinks
// more than twofold, samples * samples bilinear looks spread over the output pixel are averaged.
EP_KERNEL ep_warp(EpImages images, EpTensor out) {
  const EpImage& image = images.item[EP_BLOCK_Z];
  const int samples = image.samples;
  const float part = 1.f / (float)samples;
  const int chroma_width = (image.width + 1) / 2, chroma_height = (image.height + 1) / 2;
  const int stride = ep_pixel_bytes(image.format);
  const float* m = image.inverse;
  EP_THREADS(t) {
    const int pixel = EP_BLOCK_X * EP_THREAD_COUNT + t;
    if (pixel >= out.width * out.height) continue;
    const int y = pixel / out.width, x = pixel - y * out.width;
    const float cx = (float)x + 0.5f, cy = (float)y + 0.5f;
    const float sx = (m[0] * cx + m[1] * cy) + m[2], sy = (m[3] * cx + m[4] * cy) + m[5];
    float rgb[3] = {out.pad, out.pad, out.pad};
    if (sx >= 0.f && sx < (float)image.width && sy >= 0.f && sy < (float)image.height) {
      float sum[3] = {0.f, 0.f, 0.f};
      for (int i = 0; i < samples; ++i)
        for (int j = 0; j < samples; ++j) {
          const float dy = ((float)i + 0.5f) * part - 0.5f, dx = ((float)j + 0.5f) * part - 0.5f;
          const float px = sx + (m[0] * dx + m[1] * dy), py = sy + (m[3] * dx + m[4] * dy);
          if (ep_is_yuv(image.format)) {
            const bool planar = image.format == EP_I420;
            const unsigned char* v_plane = planar ? image.plane[2] : image.plane[1] + 1;
            sum[0] += ep_bilinear(image.plane[0], image.pitch[0], 1, image.width, image.height, px, py);
            sum[1] += ep_bilinear(image.plane[1], image.pitch[1], planar ? 1 : 2, chroma_width,
                                  chroma_height, px * 0.5f, py * 0.5f);
            sum[2] += ep_bilinear(v_plane, image.pitch[planar ? 2 : 1], planar ? 1 : 2, chroma_width,
                                  chroma_height, px * 0.5f, py * 0.5f);
          } else {
            const bool bgr = image.format == EP_BGR8 || image.format == EP_BGRA8;
            for (int k = 0; k < 3; ++k)
              sum[k] += ep_bilinear(image.plane[0] + (bgr ? 2 - k : k), image.pitch[0], stride,
                                    image.width, image.height, px, py);
          }
        }
      const float norm = part * part;
      for (int k = 0; k < 3; ++k) rgb[k] = sum[k] * norm;
      if (ep_is_yuv(image.format)) ep_yuv_to_rgb(image, rgb[0], rgb[1], rgb[2], rgb);
    }
    ep_store(out, ep_place(out, image.slot, pixel), rgb[0], rgb[1], rgb[2]);
  }
}
