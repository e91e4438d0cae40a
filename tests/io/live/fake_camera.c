/* A stand-in for a camera, for the tests: $FAKE_CAMERA (a path that need not exist) becomes a V4L2
 * capture device on a memfd, so that mmap and the descriptor's flags are the kernel's own.
 * It offers YUYV 640x480 and 320x240 at 30 and 15 frames/s and YUYV 1280x720 at 10; NV12 instead of YUYV
 * where $FAKE_CAMERA_NV12 is set.
 * While the file $FAKE_CAMERA_UNPLUGGED exists the device is gone; while $FAKE_CAMERA_SILENT exists
 * no frame comes; while $FAKE_CAMERA_BUSY exists formats are refused with EBUSY.
 * The luma of frame n is n in every pixel.
 * Build: cc -shared -fPIC -O1 -o fake_camera.so fake_camera.c -ldl; use: LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum { BUFFERS = 8, MOST = 1280 * 720 * 2 };

static const struct {
  int width, height, rates[2];
} SIZES[] = {{640, 480, {30, 15}}, {320, 240, {30, 15}}, {1280, 720, {10, 0}}};

static int camera = -1, width = 640, height = 480, rate = 30, streaming, count, queued;
static int queue[BUFFERS];
static unsigned sequence;
static unsigned char *memory;
static struct timespec started;

static int marked(const char *variable) {
  const char *path = getenv(variable);
  return path && !access(path, F_OK);
}

static int planar(void) { return getenv("FAKE_CAMERA_NV12") != 0; }
static unsigned kind(void) { return planar() ? V4L2_PIX_FMT_NV12 : V4L2_PIX_FMT_YUYV; }
static int bytes(void) { return planar() ? width * height * 3 / 2 : width * height * 2; }

static int ours(const char *path) {
  const char *name = getenv("FAKE_CAMERA");
  return name && path && !strcmp(path, name);
}

static int plug(int flags) {
  if (marked("FAKE_CAMERA_UNPLUGGED")) {
    errno = ENOENT;
    return -1;
  }
  camera = memfd_create("camera", 0);
  if (ftruncate(camera, (long)MOST * BUFFERS)) return -1;
  memory = mmap(0, (long)MOST * BUFFERS, PROT_READ | PROT_WRITE, MAP_SHARED, camera, 0);
  fcntl(camera, F_SETFL, flags & O_NONBLOCK);
  streaming = count = queued = 0;
  return camera;
}

#define OPEN(name)                                                 \
  int name(const char *path, int flags, ...) {                     \
    va_list rest;                                                  \
    va_start(rest, flags);                                         \
    int mode = va_arg(rest, int);                                  \
    va_end(rest);                                                  \
    if (ours(path)) return plug(flags);                            \
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name); \
    return real(path, flags, mode);                                \
  }
OPEN(open)
OPEN(open64)

int openat(int folder, const char *path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  int mode = va_arg(rest, int);
  va_end(rest);
  if (ours(path)) return plug(flags);
  int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, "openat");
  return real(folder, path, flags, mode);
}

/* struct stat64 is struct stat on 64-bit machines, which is all that this is for */
static int pretend(void *where) {
  struct stat *status = where;
  memset(status, 0, sizeof *status);
  status->st_mode = S_IFCHR | 0660;
  status->st_rdev = makedev(81, 0);
  return 0;
}

#define STAT(name)                                                  \
  int name(const char *restrict path, struct name *restrict status) { \
    int (*real)(const char *, void *) = dlsym(RTLD_NEXT, #name);    \
    return ours(path) ? pretend(status) : real(path, status);       \
  }
STAT(stat)
STAT(stat64)

#define FSTAT(name, type)                                                \
  int name(int fd, struct type *status) {                                \
    int (*real)(int, void *) = dlsym(RTLD_NEXT, #name);                  \
    return fd >= 0 && fd == camera ? pretend(status) : real(fd, status); \
  }
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

int close(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "close");
  if (fd >= 0 && fd == camera) {
    munmap(memory, (long)MOST * BUFFERS);
    camera = -1;
  }
  return real(fd);
}

static int fail(int error) {
  errno = error;
  return -1;
}

static void format(struct v4l2_format *f) {
  struct v4l2_pix_format *p = &f->fmt.pix;
  memset(p, 0, sizeof *p);
  p->width = width;
  p->height = height;
  p->pixelformat = kind();
  p->field = V4L2_FIELD_NONE;
  p->bytesperline = planar() ? width : width * 2;
  p->sizeimage = bytes();
}

static int set_format(struct v4l2_format *f) {
  if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
  if (marked("FAKE_CAMERA_BUSY")) return fail(EBUSY);
  for (unsigned i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
    if (SIZES[i].width == (int)f->fmt.pix.width && SIZES[i].height == (int)f->fmt.pix.height) {
      width = SIZES[i].width;
      height = SIZES[i].height;
      rate = SIZES[i].rates[0];
    }
  format(f);
  return 0;
}

static void describe(struct v4l2_buffer *b, int i) {
  b->index = i;
  b->length = bytes();
  b->bytesused = b->length;
  b->m.offset = (unsigned)i * MOST;
  b->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
  b->field = V4L2_FIELD_NONE;
  b->memory = V4L2_MEMORY_MMAP;
  b->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
}

static int dequeue(int fd, struct v4l2_buffer *b) {
  if (!streaming) return fail(EINVAL);
  if (!queued) return fail(EAGAIN);
  struct timespec due = started, now;
  long long ns = due.tv_nsec + (long long)sequence * 1000000000LL / rate;
  due.tv_sec += ns / 1000000000LL;
  due.tv_nsec = ns % 1000000000LL;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int early = now.tv_sec < due.tv_sec || (now.tv_sec == due.tv_sec && now.tv_nsec < due.tv_nsec);
  if (fcntl(fd, F_GETFL) & O_NONBLOCK) {
    if (early || marked("FAKE_CAMERA_SILENT")) return fail(EAGAIN);
  } else {
    while (marked("FAKE_CAMERA_SILENT")) usleep(10000);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, 0);
  }
  int i = queue[0];
  memmove(queue, queue + 1, --queued * sizeof *queue);
  unsigned char *picture = memory + (long)i * MOST;
  memset(picture, 128, bytes());
  if (planar())
    memset(picture, sequence, width * height);
  else
    for (long k = 0; k < width * height * 2; k += 2) picture[k] = sequence;
  describe(b, i);
  b->sequence = sequence++;
  b->timestamp.tv_sec = due.tv_sec;
  b->timestamp.tv_usec = due.tv_nsec / 1000;
  return 0;
}

static int intervals(struct v4l2_frmivalenum *f) {
  for (unsigned i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
    if (SIZES[i].width == (int)f->width && SIZES[i].height == (int)f->height) {
      if (f->index > 1 || !SIZES[i].rates[f->index]) return fail(EINVAL);
      f->type = V4L2_FRMIVAL_TYPE_DISCRETE;
      f->discrete.numerator = 1;
      f->discrete.denominator = SIZES[i].rates[f->index];
      return 0;
    }
  return fail(EINVAL);
}

static int answer(int fd, unsigned request, void *data) {
  switch (request) {
    case VIDIOC_QUERYCAP: {
      struct v4l2_capability *c = data;
      memset(c, 0, sizeof *c);
      strcpy((char *)c->driver, "fake");
      strcpy((char *)c->card, "Fake camera");
      c->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
      c->capabilities = c->device_caps | V4L2_CAP_DEVICE_CAPS;
      return 0;
    }
    case VIDIOC_ENUM_FMT: {
      struct v4l2_fmtdesc *f = data;
      if (f->index || f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
      f->pixelformat = kind();
      f->flags = 0;
      strcpy((char *)f->description, planar() ? "NV12" : "YUYV 4:2:2");
      return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES: {
      struct v4l2_frmsizeenum *s = data;
      if (s->index >= sizeof SIZES / sizeof *SIZES || s->pixel_format != kind())
        return fail(EINVAL);
      s->type = V4L2_FRMSIZE_TYPE_DISCRETE;
      s->discrete.width = SIZES[s->index].width;
      s->discrete.height = SIZES[s->index].height;
      return 0;
    }
    case VIDIOC_ENUM_FRAMEINTERVALS: return intervals(data);
    case VIDIOC_S_FMT: return set_format(data);
    case VIDIOC_G_FMT:
    case VIDIOC_TRY_FMT:
      if (((struct v4l2_format *)data)->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
      format(data);
      return 0;
    case VIDIOC_S_PARM:
    case VIDIOC_G_PARM: {
      struct v4l2_captureparm *p = &((struct v4l2_streamparm *)data)->parm.capture;
      if (request == VIDIOC_S_PARM && p->timeperframe.numerator) {
        int asked = p->timeperframe.denominator / p->timeperframe.numerator;
        if (asked >= 1 && asked <= 30) rate = asked;
      }
      p->capability = V4L2_CAP_TIMEPERFRAME;
      p->timeperframe.numerator = 1;
      p->timeperframe.denominator = rate;
      return 0;
    }
    case VIDIOC_ENUMINPUT: {
      struct v4l2_input *in = data;
      if (in->index) return fail(EINVAL);
      strcpy((char *)in->name, "Camera 1");
      in->type = V4L2_INPUT_TYPE_CAMERA;
      in->std = 0;
      return 0;
    }
    case VIDIOC_G_INPUT: *(int *)data = 0; return 0;
    case VIDIOC_S_INPUT: return 0;
    case VIDIOC_REQBUFS: {
      struct v4l2_requestbuffers *r = data;
      if (r->memory != V4L2_MEMORY_MMAP) return fail(EINVAL);
      if (r->count > BUFFERS) r->count = BUFFERS;
      count = r->count;
      queued = 0;
      return 0;
    }
    case VIDIOC_QUERYBUF: {
      struct v4l2_buffer *b = data;
      if ((int)b->index >= count) return fail(EINVAL);
      describe(b, b->index);
      return 0;
    }
    case VIDIOC_QBUF:
      if (queued < BUFFERS) queue[queued++] = ((struct v4l2_buffer *)data)->index;
      return 0;
    case VIDIOC_DQBUF: return dequeue(fd, data);
    case VIDIOC_STREAMON:
      streaming = 1;
      sequence = 0;
      clock_gettime(CLOCK_MONOTONIC, &started);
      return 0;
    case VIDIOC_STREAMOFF: streaming = queued = 0; return 0;
  }
  return fail(EINVAL);
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *data = va_arg(rest, void *);
  va_end(rest);
  if (fd < 0 || fd != camera) {
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, data);
  }
  if (marked("FAKE_CAMERA_UNPLUGGED")) return fail(ENODEV);
  return answer(fd, (unsigned)request, data);
}
