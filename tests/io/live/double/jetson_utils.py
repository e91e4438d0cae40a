"""A double of NVIDIA's jetson_utils for machines without it: names, signatures and behaviour of the
real module as far as edgepose uses it. "Device" memory is host memory here.

What it mirrors on purpose: images of a source live in a ring of four that is written again and
again; `Capture` returns None after its time-out and raises a bare Exception at the end; `Render`
raises on failure; `cudaToNumpy` is a view.
"""

from __future__ import annotations

import time

import numpy as np

RING = 4
calls: list[tuple] = []
frames_to_give = 10**9  # a camera does not end; who is slow misses some
frame_pause = 0.005
stall_after: int | None = None
kernels_run = True
raw_format = "nv12"  # what decoders and cameras give; None: an old one, which always converts


class cudaImage:
    def __init__(self, width, height, format="rgb8", array=None):
        self.width, self.height, self.format, self.channels = width, height, format, 3
        self.shape = (height, width, 3)
        self.mapped, self.timestamp = True, time.monotonic_ns()
        planar = (height * 3 // 2, width)
        self._array = np.zeros(planar if format in ("nv12", "i420") else self.shape, np.uint8)
        if array is not None:
            self._array = array
        self._freed = False  # memory of a source that is no more

    @property
    def __cuda_array_interface__(self):
        data = (self._array.ctypes.data, False)
        return {"shape": self.shape, "typestr": "|u1", "data": data, "version": 3}


def cudaMemcpy(dst, src=None):
    """Copy to `dst`, or into a new image where only one is given."""
    if (src or dst)._freed:
        raise Exception(
            "jetson.utils -- cudaMemcpy() failed: an illegal memory access was encountered"
        )
    if src is None:
        calls.append(("cudaMallocMapped",))
        return cudaImage(dst.width, dst.height, dst.format, dst._array.copy())
    if dst._array.nbytes != src._array.nbytes:
        raise TypeError("jetson.utils -- src and dst need to have the same size")
    dst._array[:] = src._array
    dst.timestamp = src.timestamp
    return None


def cudaAllocMapped(width, height, format="rgb8"):
    calls.append(("cudaMallocMapped",))
    return cudaImage(width, height, format)


def cudaConvertColor(input, output):
    if not kernels_run:
        raise Exception("jetson.utils -- no kernel image is available for execution on the device")
    calls.append(("cudaConvertColor", input.format, output.format))
    if input.format in ("nv12", "i420"):  # grey, full range
        output._array[:] = input._array[: input.height, :, None]
    else:
        output._array[:] = input._array[..., ::-1]


def cudaToNumpy(image):
    return image._array


def cudaFromNumpy(array, isBGR=0, timestamp=0):
    assert array.dtype == np.uint8
    return cudaImage(array.shape[1], array.shape[0], array=array.copy())


def cudaDeviceSynchronize():
    calls.append(("cudaDeviceSynchronize",))


def cudaStreamSynchronize(stream):
    calls.append(("cudaStreamSynchronize", stream))


OPTION_NAMES = frozenset(
    "resource save width height bitrate numBuffers loop latency zeroCopy framerate stunServer "
    "sslCert sslKey codec codecType flipMethod".split()
)


class videoSource:
    def __init__(self, uri, argv=None, positionArg=-1, options=None):
        calls.append(("videoSource", uri, tuple(argv or ()), dict(options or {})))
        unknown = set(options or {}) - OPTION_NAMES
        if unknown:
            raise Exception(f"unknown option {unknown}")
        if "absent" in uri:
            raise Exception("jetson.utils -- failed to create videoSource device")
        self._rings = {}
        self._count, self._open = 0, True

    def Capture(self, format="rgb8", timeout=1000, stream=0):
        if stall_after is not None and self._count >= stall_after:
            time.sleep(min(timeout, 50) / 1000)
            return None
        if self._count >= frames_to_give or not self._open:
            self._open = False
            raise Exception("jetson.utils -- videoSource failed to capture image")
        if format == "unknown" and raw_format is None:
            raise Exception("jetson.utils -- videoSource failed to capture image")
        time.sleep(frame_pause)
        kind = raw_format if format == "unknown" else format
        if kind not in self._rings:
            self._rings[kind] = [cudaImage(32, 24, kind) for _ in range(RING)]
        image = self._rings[kind][self._count % RING]
        image._array[:] = self._count
        self._count += 1
        return image

    def GetFrameRate(self):
        return 30

    def GetWidth(self):
        return 32

    def GetHeight(self):
        return 24

    def IsStreaming(self):
        return self._open

    def Close(self):
        self._open = False
        calls.append(("videoSource.Close",))

    def __del__(self):
        for ring in getattr(self, "_rings", {}).values():
            for image in ring:
                image._freed = True


class videoOutput:
    def __init__(self, uri, argv=None, positionArg=-1, options=None):
        calls.append(("videoOutput", uri, tuple(argv or ()), dict(options or {})))
        unknown = set(options or {}) - OPTION_NAMES
        if unknown:
            raise Exception(f"unknown option {unknown}")
        if "absent" in uri:
            raise Exception("jetson.utils -- failed to create videoOutput device")
        self.rendered, self._open = [], True

    def Render(self, image, stream=0):
        if not isinstance(image, cudaImage):
            raise Exception("jetson.utils -- videoOutput.Render() needs a cudaImage")
        if not self._open:
            raise Exception("jetson.utils -- videoOutput failed to render image")
        calls.append(("Render", image.shape, int(image._array[0, 0, 0])))

    def SetStatus(self, text):
        calls.append(("SetStatus", text))

    def IsStreaming(self):
        return self._open

    def Close(self):
        self._open = False
        calls.append(("videoOutput.Close",))
