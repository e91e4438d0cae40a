// Pictures to network input: colour, scale, crop, normalise. Definition: edgepose/cuda/twins.py.
#include "portable.h"

#define EP_PREPROCESS_THREADS 256
#define EP_STRIP 8192  // floats of shared memory for one strip of summed source columns

#define EP_IMAGES 16

// Four sums that are stored at once.
struct alignas(16) EpFour {
  float value[4];
};

enum EpFormat { EP_RGB8, EP_RGBA8, EP_BGR8, EP_BGRA8, EP_NV12, EP_I420 };

// One picture of a batch. Chroma samples lie in the middle of the pixels that share them.
struct EpImage {
  const unsigned char* plane[3];
  int pitch[3], format;
  int width, height, slot, samples;  // slot: its place in the output batch; samples: see ep_warp
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
  int width, height, half, nhwc, bgr;
  float gain[3], offset[3], pad;
};

// The source pixels behind one output pixel along one axis: two taps (bilinear), or a box, every pixel
// that it covers by the length covered: along axes that shrink, where either shrinks more than twofold.
// Only the first and the last pixel of a box can be covered in part, so those between weigh 1.
struct EpTaps {
  int first, count;
  float head, tail, norm;  // weight of the first; of the last of two and more
};

EP_INLINE EpTaps ep_taps(float centre, float scale, bool shrinks, int size) {
  EpTaps taps;
  const float n = (float)size;
  centre = ep_min(ep_max(centre, 0.f), n);
  if (shrinks && scale > 1.f) {
    const float low = ep_max(centre - scale * 0.5f, 0.f), high = ep_min(centre + scale * 0.5f, n);
    taps.first = ep_clamp((int)low, 0, size - 1);
    int last = (int)high;
    if ((float)last == high) --last;  // the box ends where that pixel begins
    last = ep_clamp(last, taps.first, size - 1);
    const float head = (float)taps.first, tail = (float)last;
    taps.count = last - taps.first + 1;
    taps.head = ep_max(ep_min(high, head + 1.f) - ep_max(low, head), 0.f);
    taps.tail = ep_max(ep_min(high, tail + 1.f) - ep_max(low, tail), 0.f);
    taps.norm = 1.f / (high - low);
  } else {
    const float position = centre - 0.5f, whole = ep_floor(position);
    const int left = (int)whole;
    taps.first = ep_clamp(left, 0, size - 1);
    taps.count = ep_clamp(left + 1, 0, size - 1) - taps.first + 1;
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

EP_INLINE void ep_store(const EpTensor& out, int slot, int x, int y, const float rgb[3]) {
  const long long area = (long long)out.width * out.height, pixel = (long long)y * out.width + x;
  const long long step = out.nhwc ? 1 : area;
  long long at = slot * 3 * area + (out.nhwc ? pixel * 3 : pixel);
  for (int c = 0; c < 3; ++c, at += step) {
    const float value = (out.bgr ? rgb[2 - c] : rgb[c]) * out.gain[c] + out.offset[c];
    if (out.half)
      ((unsigned short*)out.data)[at] = ep_half(value);
    else
      ((float*)out.data)[at] = value;
  }
}

// Four bytes of a row from `source` on; those at `left` and beyond it are 0.
EP_INLINE unsigned ep_bytes(const unsigned char* source, int left) {
  unsigned word = source[0];
  if (left > 1) word |= (unsigned)source[1] << 8;
  if (left > 2) word |= (unsigned)source[2] << 16;
  if (left > 3) word |= (unsigned)source[3] << 24;
  return word;
}

// Weighted sums over the rows of `taps` of the bytes from `begin` (a multiple of 4) to `end` of a
// plane whose rows hold `row_bytes`; four bytes a step where addresses allow.
EP_INLINE void ep_sum_rows(const unsigned char* plane, int pitch, int row_bytes, const EpTaps& taps,
                           int begin, int end, EpFour* sums, int t, int threads) {
  const bool aligned = (((unsigned long long)plane | (unsigned long long)pitch) & 3ull) == 0;
  const unsigned char* row = plane + (long long)taps.first * pitch;
  for (int at = begin + 4 * t; at < end; at += 4 * threads) {
    const bool whole = aligned && at + 4 <= row_bytes;
    const unsigned char* source = row + at;
    EpFour sum;
    for (int i = 0; i < 4; ++i) sum.value[i] = 0.f;
    EP_NO_UNROLL
    for (int i = 0; i < taps.count; ++i, source += pitch) {
      const unsigned word = whole ? ep_word(source) : ep_bytes(source, end - at);
      const float weight = i == 0 ? taps.head : i == taps.count - 1 ? taps.tail : 1.f;
      for (int b = 0; b < 4; ++b) sum.value[b] += weight * ep_byte(word, b);
    }
    sums[(at - begin) / 4] = sum;
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

// The source columns [first, end) behind output columns x0 to x1 - 1.
EP_INLINE void ep_columns(float a, float c, float scale, bool shrinks, int size, int x0, int x1,
                          int* first, int* end) {
  const EpTaps left = ep_taps(((float)x0 + 0.5f) * a + c, scale, shrinks, size);
  const EpTaps right = ep_taps(((float)(x1 - 1) + 0.5f) * a + c, scale, shrinks, size);
  *first = ep_min(left.first, right.first);
  *end = ep_max(left.first + left.count, right.first + right.count);
}

// Upright pictures: stretch, letterbox, straight crops. Grid (strips of `columns` output pixels, rows,
// pictures). First the rows behind one output row are summed, then the columns, so that every source
// byte is read once and in order. The launcher picks `columns` such that a strip fits.
EP_KERNEL ep_preprocess(EpImages images, EpTensor out, int columns) {
  EP_SHARED EpFour strip[EP_STRIP / 4];
  const EpImage& image = images.item[EP_BLOCK_Z];
  const int y = EP_BLOCK_Y, x0 = EP_BLOCK_X * columns, x1 = ep_min(x0 + columns, out.width);
  const float a = image.inverse[0], c = image.inverse[2];
  const float scale_x = ep_abs(a), scale_y = ep_abs(image.inverse[4]);
  const float largest = ep_max(scale_x, scale_y);
  const bool shrinks = largest > 2.f, chroma_shrinks = largest > 4.f;
  const float centre_y = ((float)y + 0.5f) * image.inverse[4] + image.inverse[5];
  const bool row_inside = centre_y >= 0.f && centre_y < (float)image.height;
  const bool yuv = ep_is_yuv(image.format), planar = image.format == EP_I420;
  const int stride = ep_pixel_bytes(image.format), chroma_stride = planar ? 1 : 2;
  const int chroma_width = (image.width + 1) / 2, chroma_height = (image.height + 1) / 2;
  const EpTaps rows = ep_taps(centre_y, scale_y, shrinks, image.height);
  const EpTaps chroma_rows =
      ep_taps(centre_y * 0.5f, scale_y * 0.5f, chroma_shrinks, chroma_height);
  int first, end, chroma_first, chroma_end;
  ep_columns(a, c, scale_x, shrinks, image.width, x0, x1, &first, &end);
  ep_columns(a * 0.5f, c * 0.5f, scale_x * 0.5f, chroma_shrinks, chroma_width, x0, x1, &chroma_first,
             &chroma_end);
  // The sums of each plane lie one after the other, from a byte that is a multiple of 4.
  const int origin = (first * stride) & ~3, chroma_origin = (chroma_first * chroma_stride) & ~3;
  EpFour* const u_strip = strip + (end * stride - origin + 3) / 4;
  EpFour* const v_strip = u_strip + (chroma_end * chroma_stride - chroma_origin + 3) / 4;

  EP_THREADS(t) {
    if (!row_inside) continue;
    ep_sum_rows(image.plane[0], image.pitch[0], image.width * stride, rows, origin, end * stride,
                strip, t, EP_THREAD_COUNT);
    EP_NO_UNROLL
    for (int plane = 1; plane < (yuv ? (planar ? 3 : 2) : 1); ++plane)
      ep_sum_rows(image.plane[plane], image.pitch[plane], chroma_width * chroma_stride, chroma_rows,
                  chroma_origin, chroma_end * chroma_stride, plane == 1 ? u_strip : v_strip, t,
                  EP_THREAD_COUNT);
  }
  EP_BARRIER();
  const float* const sums = (const float*)strip;
  EP_THREADS(t) {
    for (int x = x0 + t; x < x1; x += EP_THREAD_COUNT) {
      const float centre = ((float)x + 0.5f) * a + c;
      float rgb[3] = {out.pad, out.pad, out.pad};
      if (row_inside && centre >= 0.f && centre < (float)image.width) {
        const EpTaps taps = ep_taps(centre, scale_x, shrinks, image.width);
        const EpTaps chroma_taps =
            ep_taps(centre * 0.5f, scale_x * 0.5f, chroma_shrinks, chroma_width);
        if (yuv) {
          const float chroma_norm = chroma_taps.norm * chroma_rows.norm;
          const int at = chroma_taps.first * chroma_stride - chroma_origin;
          float luma, cbcr[2];
          ep_sum_columns<1>(sums + taps.first - origin, 1, taps, &luma);
          if (planar) {
            ep_sum_columns<1>((const float*)u_strip + at, 1, chroma_taps, cbcr);
            ep_sum_columns<1>((const float*)v_strip + at, 1, chroma_taps, cbcr + 1);
          } else {
            ep_sum_columns<2>((const float*)u_strip + at, 2, chroma_taps, cbcr);
          }
          ep_yuv_to_rgb(image, luma * (taps.norm * rows.norm), cbcr[0] * chroma_norm,
                        cbcr[1] * chroma_norm, rgb);
        } else {
          const bool bgr = image.format == EP_BGR8 || image.format == EP_BGRA8;
          float sum[3];
          ep_sum_columns<3>(sums + taps.first * stride - origin, stride, taps, sum);
          const float norm = taps.norm * rows.norm;
          rgb[0] = (bgr ? sum[2] : sum[0]) * norm;
          rgb[1] = sum[1] * norm;
          rgb[2] = (bgr ? sum[0] : sum[2]) * norm;
        }
      }
      ep_store(out, image.slot, x, y, rgb);
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
    ep_store(out, image.slot, x, y, rgb);
  }
}
