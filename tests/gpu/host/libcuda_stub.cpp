// A libcuda.so.1 that runs the kernels on this processor: what the real wrapper calls, in host memory, at once.
//
// It proves that every call of ours reaches the driver API with arguments that mean what they should. A call can be
// made to fail by name. Handles carry a tag, so that one kind given for another is refused. There are two devices; what
// was made in the context of one is refused while that of the other is current, which is stricter than CUDA in places.

#include "kernels.cpp"
#include "libcuda_state.hpp"

#include <dlfcn.h>

#define ENTER(call) \
    std::lock_guard<std::recursive_mutex> held(one_at_a_time); \
    if (int problem = entered(#call)) return problem
#define ENTER_WITHOUT_CONTEXT(call) \
    std::lock_guard<std::recursive_mutex> held(one_at_a_time); \
    if (int problem = entered(#call, false)) return problem

extern "C" {

void stub_fail(const char* call, int status) { failures[call] = status; }
void stub_heal() { failures.clear(); }
void stub_lack(const char* function) { lacking.insert(function); }
void stub_driver_version(int version) { driver_version = version; }
int stub_count(const char* call) { return counts[call]; }
size_t stub_live() {
    const size_t made = handles.size() + device_memory.size() + pinned_memory.size() + registered.size();
    return made - (primary[0] != nullptr) - (primary[1] != nullptr);
}
int stub_retained() { return retained[0] + retained[1]; }
int stub_launched(int device) { return launched[device]; }
// Work of an engine: device memory to device memory, in the stream's order.
int stub_copy(Handle* stream, void* to, const void* from, size_t bytes) {
    if (!within(device_memory, to, bytes) || !within(device_memory, from, bytes)) return kInvalidValue;
    return put(stream, [=] { std::memcpy(to, from, bytes); return 0; });
}

int cuInit(unsigned) { ENTER_WITHOUT_CONTEXT(cuInit); initialised = true; see_devices(); return 0; }
int cuDriverGetVersion(int* version) { *version = driver_version; return 0; }
int cuModuleGetLoadingMode(int* mode) {
    ENTER_WITHOUT_CONTEXT(cuModuleGetLoadingMode);
    const char* wanted = std::getenv("CUDA_MODULE_LOADING");
    *mode = wanted && !std::strcmp(wanted, "LAZY") ? kLazyLoading : 1;
    return 0;
}
int cuDeviceGet(int* device, int ordinal) {
    ENTER_WITHOUT_CONTEXT(cuDeviceGet);
    if (ordinal < 0 || ordinal >= (int)visible.size()) return kInvalidDevice;
    *device = visible[ordinal];
    return 0;
}
int cuDeviceGetName(char* name, int length, int) {
    ENTER_WITHOUT_CONTEXT(cuDeviceGetName);
    std::snprintf(name, length, "Host GPU");
    return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    ENTER_WITHOUT_CONTEXT(cuDeviceGetAttribute);
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : -1;  // compute capability, major and minor
    return *value < 0 ? kInvalidValue : 0;
}
int cuDeviceGetUuid_v2(char* uuid, int device) {
    ENTER_WITHOUT_CONTEXT(cuDeviceGetUuid);
    fill_uuid(uuid, device);
    return 0;
}
int cuDevicePrimaryCtxRetain(Handle** context, int device) {
    ENTER_WITHOUT_CONTEXT(cuDevicePrimaryCtxRetain);
    if (!primary[device]) primary[device] = make('C');
    primary[device]->device = device;
    ++retained[device];
    *context = primary[device];
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int device) {
    ENTER_WITHOUT_CONTEXT(cuDevicePrimaryCtxRelease);
    --retained[device];
    return 0;
}
int cuCtxGetCurrent(Handle** context) { ENTER_WITHOUT_CONTEXT(cuCtxGetCurrent); *context = current(); return 0; }
int cuCtxSetCurrent(Handle* context) {
    ENTER_WITHOUT_CONTEXT(cuCtxSetCurrent);
    if (!is(context, 'C')) return kInvalidContext;
    if (contexts.empty()) contexts.push_back(context);
    contexts.back() = context;
    return 0;
}
int cuCtxPushCurrent_v2(Handle* context) {
    ENTER_WITHOUT_CONTEXT(cuCtxPushCurrent);
    if (!is(context, 'C')) return kInvalidContext;
    contexts.push_back(context);
    return 0;
}
int cuCtxPopCurrent_v2(Handle** context) { ENTER(cuCtxPopCurrent); *context = contexts.back(); contexts.pop_back(); return 0; }
int cuMemGetInfo_v2(size_t* free, size_t* total) { ENTER(cuMemGetInfo); *free = 3ull << 30; *total = 4ull << 30; return 0; }

int cuMemAlloc_v2(void** address, size_t bytes) {
    ENTER(cuMemAlloc);
    *address = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(*address, 0xCD, bytes);
    device_memory[*address] = {bytes, current(), false};
    return 0;
}
int cuMemFree_v2(void* address) {
    ENTER(cuMemFree);
    if (!device_memory.count(address) || device_memory[address].context != current()) return kInvalidValue;
    device_memory.erase(address);
    std::free(address);
    return 0;
}
int cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
    ENTER(cuMemHostAlloc);
    if (flags) return kInvalidValue;
    *address = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    pinned_memory[*address] = {bytes, current(), false};
    return 0;
}
int cuMemFreeHost(void* address) {
    ENTER(cuMemFreeHost);
    if (!pinned_memory.count(address) || pinned_memory[address].context != current()) return kInvalidValue;
    pinned_memory.erase(address);
    std::free(address);
    return 0;
}
int cuMemHostRegister_v2(void* address, size_t bytes, unsigned flags) {
    ENTER(cuMemHostRegister);
    if (overlaps(registered, address, bytes)) return kAlreadyRegistered;
    registered[address] = {bytes, current(), flags == kPortable};
    return 0;
}
int cuMemHostUnregister(void* address) { ENTER(cuMemHostUnregister); return registered.erase(address) ? 0 : kNotRegistered; }

int cuStreamCreate(Handle** stream, unsigned flags) {
    ENTER(cuStreamCreate);
    if (flags != 1) return kInvalidValue;  // CU_STREAM_NON_BLOCKING
    *stream = make('S');
    return 0;
}
int cuStreamDestroy_v2(Handle* stream) { ENTER(cuStreamDestroy); return destroy(stream, 'S'); }
int cuStreamSynchronize(Handle* stream) { ENTER(cuStreamSynchronize); return is(stream, 'S') ? 0 : kInvalidHandle; }
int cuStreamWaitEvent(Handle* stream, Handle* event, unsigned) {
    ENTER(cuStreamWaitEvent);
    return is(stream, 'S') && is(event, 'E') && event->recorded ? 0 : kInvalidHandle;
}
int cuEventCreate(Handle** event, unsigned) { ENTER(cuEventCreate); *event = make('E'); return 0; }
int cuEventDestroy_v2(Handle* event) { ENTER(cuEventDestroy); return destroy(event, 'E'); }
int cuEventRecord(Handle* event, Handle* stream) {
    ENTER(cuEventRecord);
    if (!is(event, 'E') || !is(stream, 'S')) return kInvalidHandle;
    event->recorded = true;
    event->polls = 0;
    return 0;
}
int cuEventQuery(Handle* event) {
    ENTER(cuEventQuery);
    if (!is(event, 'E')) return kInvalidHandle;
    return event->polls++ ? 0 : kNotReady;
}
int cuEventElapsedTime_v2(float* ms, Handle* start, Handle* end) {
    ENTER(cuEventElapsedTime);
    *ms = 1.5f;
    return is(start, 'E') && is(end, 'E') ? 0 : kInvalidHandle;
}
int cuMemcpyHtoDAsync_v2(void* device, const void* host, size_t bytes, Handle* stream) {
    ENTER(cuMemcpyHtoDAsync);
    if (!within(device_memory, device, bytes)) return kInvalidValue;
    if (!within(pinned_memory, host, bytes) && !within(registered, host, bytes)) return kInvalidValue;
    return put(stream, [=] { std::memcpy(device, host, bytes); return 0; });
}
int cuMemcpyDtoHAsync_v2(void* host, const void* device, size_t bytes, Handle* stream) {
    ENTER(cuMemcpyDtoHAsync);
    if (!within(device_memory, device, bytes) || !within(pinned_memory, host, bytes)) return kInvalidValue;
    return put(stream, [=] { std::memcpy(host, device, bytes); return 0; });
}
int cuMemcpyDtoDAsync_v2(void* to, const void* from, size_t bytes, Handle* stream) {
    ENTER(cuMemcpyDtoDAsync);
    if (!within(device_memory, to, bytes) || !within(device_memory, from, bytes)) return kInvalidValue;
    return put(stream, [=] { std::memcpy(to, from, bytes); return 0; });
}
int cuMemsetD32Async(void* device, unsigned value, size_t words, Handle* stream) {
    ENTER(cuMemsetD32Async);
    if (!within(device_memory, device, words * 4)) return kInvalidValue;
    return put(stream, [=] { std::fill_n((unsigned*)device, words, value); return 0; });
}

int cuModuleLoadData(Handle** module, const void* image) {
    ENTER(cuModuleLoadData);
    if (std::memcmp(image, "\x7f" "ELF", 4)) return 200;  // CUDA_ERROR_INVALID_IMAGE
    *module = make('M');
    return 0;
}
int cuModuleUnload(Handle* module) { ENTER(cuModuleUnload); return destroy(module, 'M'); }
int cuModuleGetFunction(Handle** function, Handle* module, const char* name) {
    ENTER(cuModuleGetFunction);
    if (!is(module, 'M')) return kInvalidHandle;
    if (!find(name)) return kNotFound;
    static std::map<std::pair<Handle*, std::string>, Handle> functions;
    *function = &functions[{module, name}];
    (*function)->kind = 'F';
    (*function)->kernel = name;
    (*function)->module = module;
    return 0;
}
int cuLaunchKernel(Handle* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, Handle* stream, void** arguments, void** extra) {
    ENTER(cuLaunchKernel);
    if (!function || function->kind != 'F' || !is(function->module, 'M')) return kInvalidHandle;
    if (shared || extra || !arguments) return kInvalidValue;
    const std::string kernel = function->kernel;
    const char* first = (const char*)arguments[0];
    const std::vector<char> args(first, first + find(kernel.c_str())->args_bytes);  // copied now, as the driver does
    if (strays(args)) return kIllegalAddress;
    const int device = current()->device;
    Handle* module = function->module;
    return put(stream, [=] {
        if (!handles.count(module)) return kInvalidHandle;  // unloaded under a graph that still holds it
        ++launched[device];
        const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
        return host_launch(kernel.c_str(), grid, block, args.data(), 0) ? 719 : 0;  // CUDA_ERROR_LAUNCH_FAILED
    });
}

int cuStreamBeginCapture_v2(Handle* stream, int mode) {
    ENTER(cuStreamBeginCapture);
    if (!is(stream, 'S')) return kInvalidHandle;
    if (mode != kCaptureThreadLocal || stream->capturing) return kInvalidValue;
    stream->capturing = true;
    return 0;
}
int cuStreamEndCapture(Handle* stream, Handle** graph) {
    ENTER(cuStreamEndCapture);
    if (!is(stream, 'S') || !stream->capturing) return kInvalidValue;
    stream->capturing = false;
    *graph = make('G');
    (*graph)->steps.swap(stream->steps);
    return 0;
}
int cuGraphInstantiateWithFlags(Handle** executable, Handle* graph, unsigned long long) {
    ENTER(cuGraphInstantiate);
    if (!is(graph, 'G')) return kInvalidValue;
    *executable = make('X');
    (*executable)->steps = graph->steps;
    return 0;
}
int cuGraphDestroy(Handle* graph) { ENTER(cuGraphDestroy); return destroy(graph, 'G'); }
int cuGraphExecDestroy(Handle* executable) { ENTER(cuGraphExecDestroy); return destroy(executable, 'X'); }
int cuGraphUpload(Handle* executable, Handle*) { ENTER(cuGraphUpload); return is(executable, 'X') ? 0 : kInvalidHandle; }
int cuGraphLaunch(Handle* executable, Handle* stream) {
    ENTER(cuGraphLaunch);
    if (!is(executable, 'X') || !is(stream, 'S')) return kInvalidHandle;
    for (const auto& step : executable->steps)
        if (int problem = step()) return problem;
    return 0;
}

// The bindings find every function through this one, by its plain name and the CUDA version of the form they want; one
// newer than the driver is an invalid value, as NVIDIA documents it. Of each function there is the newest form.
int cuGetProcAddress_v2(const char* symbol, void** function, int version, unsigned long long, int* found) {
    void* self = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_LAZY);
    *function = nullptr;
    if (version > driver_version) return kInvalidValue;
    if (lacking.count(symbol)) {
        if (found) *found = kFoundNothing;
        return kNotFound;
    }
    if (!std::strcmp(symbol, "cuGraphInstantiate")) *function = dlsym(self, "cuGraphInstantiateWithFlags");
    for (const char* suffix : {"_v2", ""})
        if (!*function) *function = dlsym(self, (std::string(symbol) + suffix).c_str());
    if (found) *found = *function ? 0 : kFoundNothing;
    return *function ? 0 : kNotFound;
}
int cuGetProcAddress(const char* symbol, void** function, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, nullptr);
}

}  // extern "C"
