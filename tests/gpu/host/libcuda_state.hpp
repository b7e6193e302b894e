// What the stub driver knows: two devices, their contexts, and what was made in each.

#pragma once

#include <cstdlib>
#include <map>
#include <mutex>
#include <set>

namespace {

constexpr int kInvalidValue = 1, kNotInitialised = 3, kInvalidDevice = 101, kInvalidContext = 201, kNotFound = 500;
constexpr int kInvalidHandle = 400, kNotReady = 600, kIllegalAddress = 700;
constexpr int kAlreadyRegistered = 712, kNotRegistered = 713;
constexpr int kFoundNothing = 1, kLazyLoading = 2, kCaptureThreadLocal = 1, kPortable = 1;
constexpr int kDevices = 2;

struct Handle {
    char kind = 0;  // Stream, Event, Module, Function, Graph, eXecutable, Context
    Handle* context = nullptr;
    int device = 0;  // of a context
    bool recorded = false;
    int polls = 0;
    std::string kernel;
    Handle* module = nullptr;  // of a function
    std::vector<std::function<int()>> steps;
    bool capturing = false;
};

struct Block {
    size_t bytes;
    Handle* context;
    bool portable;
};
using Blocks = std::map<void*, Block>;

std::set<Handle*> handles;
Blocks device_memory, pinned_memory, registered;
std::map<std::string, int> failures;
std::map<std::string, int> counts;
std::set<std::string> lacking;
int driver_version = 13000;
bool initialised = false;
std::recursive_mutex one_at_a_time;  // memory is pinned from other threads
std::vector<int> visible;  // devices by ordinal
thread_local std::vector<Handle*> contexts;
Handle* primary[kDevices] = {};
int retained[kDevices] = {}, launched[kDevices] = {};

Handle* current() { return contexts.empty() ? nullptr : contexts.back(); }

Handle* make(char kind) {
    Handle* handle = new Handle;
    handle->kind = kind;
    handle->context = current();
    handles.insert(handle);
    return handle;
}

// Whether it is of that kind and of the context that is current.
bool is(Handle* handle, char kind) {
    return handles.count(handle) && handle->kind == kind && (kind == 'C' || handle->context == current());
}

int destroy(Handle* handle, char kind) {
    if (!is(handle, kind)) return kInvalidHandle;
    handles.erase(handle);
    delete handle;
    return 0;
}

const Block* block_at(const Blocks& blocks, const void* at) {
    for (const auto& [start, block] : blocks)
        if (at >= start && (const char*)at < (const char*)start + block.bytes) return &block;
    return nullptr;
}

// Whether the current context may use all of it.
bool within(const Blocks& blocks, const void* at, size_t bytes) {
    for (const auto& [start, block] : blocks)
        if (at >= start && (const char*)at + bytes <= (const char*)start + block.bytes)
            return block.portable || block.context == current();
    return false;
}

bool overlaps(const Blocks& blocks, const void* at, size_t bytes) {
    for (const auto& [start, block] : blocks)
        if (at < (const char*)start + block.bytes && start < (const char*)at + bytes) return true;
    return false;
}

// Whether one of a kernel's arguments points into the memory of another device.
bool strays(const std::vector<char>& args) {
    for (size_t k = 0; k + sizeof(void*) <= args.size(); k += sizeof(void*)) {
        void* at;
        std::memcpy(&at, args.data() + k, sizeof at);
        const Block* block = block_at(device_memory, at);
        if (block && block->context != current()) return true;
    }
    return false;
}

int put(Handle* stream, std::function<int()> step) {
    if (!is(stream, 'S')) return kInvalidHandle;
    if (stream->capturing) {
        stream->steps.push_back(step);
        return 0;
    }
    return step();
}

void fill_uuid(char* uuid, int device) {
    for (int k = 0; k < 16; ++k) uuid[k] = (char)(k * 16 + k);
    uuid[0] = (char)device;
}

// The devices that CUDA_VISIBLE_DEVICES leaves, in its order: all, or those whose UUID it names.
void see_devices() {
    const char* names = std::getenv("CUDA_VISIBLE_DEVICES");
    visible.clear();
    std::map<size_t, int> placed;
    for (int device = 0; device < kDevices; ++device) {
        char start[16];
        std::snprintf(start, sizeof start, "GPU-%02x112233", device);
        const size_t place = names ? std::string(names).find(start) : (size_t)device;
        if (place != std::string::npos) placed[place] = device;
    }
    for (const auto& [place, device] : placed) visible.push_back(device);
}

// Counted; then the failure asked for, or that of a thread without a context, or none.
int entered(const char* call, bool needs_context = true) {
    ++counts[call];
    if (failures.count(call)) return failures[call];
    if (!initialised && std::string(call) != "cuInit") return kNotInitialised;
    if (needs_context && !current()) return kInvalidContext;
    return 0;
}

}  // namespace
