// The kernels' sources, compiled for the host, behind one C entry that names them.

#include "cuda_on_host.hpp"

namespace decode {
#include "plugins/yolo_layer/decode.cu"
}
namespace preprocess {
#include "edged/gpu/kernels/preprocess.cu"
}
namespace nms {
// A header that was read before is not read again: its guard prevents it.
using preprocess::FrameEntry;
using preprocess::Limits;
#include "edged/gpu/kernels/nms.cu"
}
namespace rows {
using nms::Found;
using nms::is_finite;
using nms::report;
using preprocess::FrameEntry;
using preprocess::Limits;
#include "edged/gpu/kernels/rows.cu"
}

namespace {

struct Entry {
    const char* name;
    void (*run)(const void* args);
    bool has_barriers;
    size_t args_bytes;
};

#define ENTRY(space, kernel, Args, barriers)                                                       \
    {#kernel, [](const void* args) { space::kernel(*static_cast<const space::Args*>(args)); }, barriers, \
     sizeof(space::Args)}

const Entry kEntries[] = {
    ENTRY(decode, decode_scores_f32, DecodeArgs, true),  ENTRY(decode, decode_scores_f16, DecodeArgs, true),
    ENTRY(decode, decode_write_f32, DecodeArgs, true),   ENTRY(decode, decode_write_f16, DecodeArgs, true),
    ENTRY(preprocess, preprocess_f32, PreprocessArgs, false),
    ENTRY(preprocess, preprocess_f16, PreprocessArgs, false),
    ENTRY(preprocess, preprocess_nv12_f32, PreprocessArgs, false),
    ENTRY(preprocess, preprocess_nv12_f16, PreprocessArgs, false),
    ENTRY(nms, nms_admit, NmsArgs, true),                ENTRY(nms, nms_rank, NmsArgs, true),
    ENTRY(nms, nms_greedy, NmsArgs, true),               ENTRY(rows, rows_pick, RowsArgs, true),
};

const Entry* find(const char* name) {
    for (const Entry& entry : kEntries)
        if (!std::strcmp(entry.name, name)) return &entry;
    return nullptr;
}

}  // namespace

// Bytes of the kernel's argument struct, 0 for an unknown kernel.
extern "C" size_t host_args_bytes(const char* kernel) {
    const Entry* entry = find(kernel);
    return entry ? entry->args_bytes : 0;
}

extern "C" const char* host_launch(const char* kernel, const unsigned* grid, const unsigned* block, const void* args,
                                   unsigned seed) {
    const Entry* entry = find(kernel);
    if (!entry) return "no such kernel";
    return host::play([&] { entry->run(args); }, entry->has_barriers, grid, block, seed);
}

// How often a thread came to a barrier in the last launch: grows with the length of the kernel's loops.
extern "C" unsigned long long host_barriers() { return host::block().barriers; }
