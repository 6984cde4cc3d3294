// What Triton's launcher wants of libcuda.so.1, for a machine without a GPU: nothing runs, and
// launches are counted. Handles of functions are their names.
#include "cuda.h"
#include <string.h>

// Launches and replays of graphs, streams and graphs that were not destroyed, and the function that
// is to fail. The last launch: `sizes` says how many bytes of each parameter to keep.
struct {
  int count, replays, alive;
  const char *failing;
  unsigned int grid[3], block[3], shared;
  unsigned long long stream, function;
  int parameters, sizes[64];
  unsigned char values[64][8];
} stub_launch;

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters,
                          void **extra) {
  stub_launch.count++;
  stub_launch.grid[0] = config->gridDimX;
  stub_launch.grid[1] = config->gridDimY;
  stub_launch.grid[2] = config->gridDimZ;
  stub_launch.block[0] = config->blockDimX;
  stub_launch.block[1] = config->blockDimY;
  stub_launch.block[2] = config->blockDimZ;
  stub_launch.shared = config->sharedMemBytes;
  stub_launch.stream = (unsigned long long)config->hStream;
  stub_launch.function = (unsigned long long)function;
  for (int i = 0; i < stub_launch.parameters; i++)
    memcpy(stub_launch.values[i], parameters[i], stub_launch.sizes[i]);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  switch ((int)attribute) {
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = 8; break;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = 0; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: *value = 163 << 10; break;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: *value = 164 << 10; break;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = 65536; break;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = 108; break;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
  default: *value = 1;
  }
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
           : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 64
                                                                : 0;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  *function = (CUfunction)strdup(name);
  return CUDA_SUCCESS;
}

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  *module = (CUmodule)1;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) {
  *context = (CUcontext)1;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  *context = (CUcontext)1;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
  *device = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr address) {
  *(CUdeviceptr *)value = address;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char **text) {
  *text = "an error of the stub";
  return CUDA_SUCCESS;
}

static CUresult answer(const char *name) {
  int fails = stub_launch.failing && strcmp(stub_launch.failing, name) == 0;
  return fails ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS;
}

static CUresult made(void **handle, const char *name) {
  CUresult status = answer(name);
  if (status == CUDA_SUCCESS) {
    stub_launch.alive++;
    *handle = (void *)9;
  }
  return status;
}

static CUresult destroyed(void *handle) {
  stub_launch.alive--;
  return handle == (void *)9 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuStreamCreate(CUstream *stream, unsigned int flags) {
  return flags == CU_STREAM_NON_BLOCKING ? made((void **)stream, "cuStreamCreate")
                                         : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
  return mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL ? answer("cuStreamBeginCapture")
                                                     : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  return made((void **)graph, "cuStreamEndCapture");
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph,
                                     unsigned long long flags) {
  return made((void **)executable, "cuGraphInstantiate");
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
  stub_launch.replays++;
  stub_launch.stream = (unsigned long long)stream;
  return executable == (CUgraphExec)9 ? answer("cuGraphLaunch") : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuGraphDestroy(CUgraph graph) { return destroyed(graph); }
CUresult cuGraphExecDestroy(CUgraphExec executable) { return destroyed(executable); }
CUresult cuStreamDestroy(CUstream stream) { return destroyed(stream); }

// The rest does nothing.
CUresult cuModuleUnload(CUmodule module) { return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext context) { return CUDA_SUCCESS; }
CUresult cuCtxGetLimit(size_t *value, CUlimit limit) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuCtxSetLimit(CUlimit limit, size_t value) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuDriverGetVersion(int *version) { return CUDA_ERROR_NOT_SUPPORTED; }
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int value) {
  return CUDA_SUCCESS;
}
CUresult cuFuncSetCacheConfig(CUfunction function, CUfunc_cache config) { return CUDA_SUCCESS; }
CUresult cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status) {
  *status = CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}
