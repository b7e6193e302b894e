// YOLOv5 decode of up to four sigmoided maps into a list of boxes, in a fixed order and without atomics on the output.
//
// Pass 1 (decode_scores_*) scores every anchor cell and counts the kept ones of each block. Pass 2 (decode_write_*)
// places block after block at the sum of the counts before it, so the order is that of the cells - head, anchor,
// row, column - whatever order the blocks run in. Nothing is allocated and nothing waits.
//
// Formula: YOLOv5 6.0 and later (Ultralytics' description of its Detect layer): for map values s in 0..1 at cell
// (column, row), stride t and anchor (aw, ah) px: centre = (2 s - 0.5 + cell) t, size = (2 s)^2 anchor. The order of
// the float operations is that of edged.cpu.decode; compile without fused multiply-add and both agree bit by bit.

#define MAX_HEADS 4
#define MAX_ANCHORS 8
#define DECODE_BLOCK 256
#define NOT_KEPT -1
#define CLASSES_AHEAD 8

struct DecodeHead {
    const void* map;  // (batch, anchors * (5 + classes), rows, cols)
    int rows;
    int cols;
    int stride;      // network pixels a cell
    int first_cell;  // this head's first cell in 0..cells
    float anchors_wh[MAX_ANCHORS * 2];
};

struct DecodeArgs {
    DecodeHead heads[MAX_HEADS];
    int* count;           // (batch,)
    float* boxes;         // (batch, cells, 4) xyxy, network pixels; beyond `count` left as it was
    float* scores;        // (batch, cells)
    int* classes;         // (batch, cells)
    float* cell_scores;   // (batch, cells) workspace
    int* cell_classes;    // (batch, cells) workspace, NOT_KEPT where the cell holds nothing
    int* block_counts;    // (batch, blocks) workspace
    const float* live_threshold;  // read at run time where it is not null: a captured graph keeps its arguments
    float threshold;              // else this one
    int cells;
    int anchors;
    int num_classes;
    int num_heads;
};

struct Cell {
    int head;
    int anchor;
    int row;
    int col;
};

__device__ float as_float(float value) { return value; }

// IEEE half to float in integer steps: the NVRTC wheel brings no cuda_fp16.h.
__device__ float as_float(unsigned short half) {
    const unsigned int sign = (half & 0x8000u) << 16;
    const unsigned int exponent = (half >> 10) & 0x1Fu;
    const unsigned int mantissa = half & 0x3FFu;
    if (exponent == 0x1Fu) return __uint_as_float(sign | 0x7F800000u | (mantissa << 13));
    if (exponent == 0u) {
        const float magnitude = (float)mantissa * 5.9604644775390625e-8f;  // 2^-24, exact
        return sign ? -magnitude : magnitude;
    }
    return __uint_as_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

template <typename T>
__device__ float load(const T* map, long long index) { return as_float(map[index]); }

__device__ Cell locate(const DecodeArgs& args, int index) {
    int head = 0;
    while (head + 1 < args.num_heads && index >= args.heads[head + 1].first_cell) ++head;
    const int local = index - args.heads[head].first_cell;
    const int plane = args.heads[head].rows * args.heads[head].cols;
    const int in_plane = local % plane;
    return {head, local / plane, in_plane / args.heads[head].cols, in_plane % args.heads[head].cols};
}

// Index of channel 0 of the cell's anchor in its map; channel k lies k planes further.
__device__ long long channel_zero(const DecodeArgs& args, const Cell& cell, int image) {
    const DecodeHead& head = args.heads[cell.head];
    const long long plane = (long long)head.rows * head.cols;
    const long long channel = ((long long)image * args.anchors + cell.anchor) * (5 + args.num_classes);
    return channel * plane + (long long)cell.row * head.cols + cell.col;
}

// The best class's probability; the lowest index wins a tie, a NaN anywhere makes the result NaN (numpy's argmax).
//
// The classes lie a plane apart, so each one read is a wait for memory: CLASSES_AHEAD are asked for together, then
// compared in order. Where fewer are left the last is read again, which changes nothing: it is not above the best.
template <typename T>
__device__ float best_class(const T* next, long long plane, int num_classes, int* best_index) {
    float best = __uint_as_float(0xFF800000u);  // -Inf
    *best_index = 0;
    for (int first = 0; first < num_classes; first += CLASSES_AHEAD) {
        T ahead[CLASSES_AHEAD];
        for (int k = 0; k < CLASSES_AHEAD; ++k) {
            ahead[k] = *next;
            next += first + k + 1 < num_classes ? plane : 0;
        }
        for (int k = 0; k < CLASSES_AHEAD; ++k) {
            const float probability = as_float(ahead[k]);
            if (best == best && !(probability <= best)) {
                best = probability;
                *best_index = first + k;
            }
        }
    }
    return best;
}

template <typename T>
__device__ void score_cells(const DecodeArgs& args) {
    __shared__ int kept_in_block;
    const int index = blockIdx.x * blockDim.x + threadIdx.x;
    const int image = blockIdx.y;
    const float threshold = args.live_threshold ? *args.live_threshold : args.threshold;
    if (threadIdx.x == 0) kept_in_block = 0;
    __syncthreads();
    if (index < args.cells) {
        const Cell cell = locate(args, index);
        const T* map = (const T*)args.heads[cell.head].map;
        const long long zero = channel_zero(args, cell, image);
        const long long plane = (long long)args.heads[cell.head].rows * args.heads[cell.head].cols;
        const float objectness = load(map, zero + 4 * plane);
        float score = 0.0f;
        int best_index = NOT_KEPT;
        // Probabilities are at most 1, so a cell whose objectness fails cannot pass: most classes are never read.
        if (objectness > threshold) {
            score = objectness * best_class(map + zero + 5 * plane, plane, args.num_classes, &best_index);
            if (!(score > threshold)) best_index = NOT_KEPT;
        }
        const long long out = (long long)image * args.cells + index;
        args.cell_scores[out] = score;
        args.cell_classes[out] = best_index;
        if (best_index != NOT_KEPT) atomicAdd(&kept_in_block, 1);
    }
    __syncthreads();
    if (threadIdx.x == 0) args.block_counts[image * gridDim.x + blockIdx.x] = kept_in_block;
}

template <typename T>
__device__ void write_box(const DecodeArgs& args, const Cell& cell, int image, float* box) {
    const DecodeHead& head = args.heads[cell.head];
    const T* map = (const T*)head.map;
    const long long zero = channel_zero(args, cell, image);
    const long long plane = (long long)head.rows * head.cols;
    const float stride = (float)head.stride;
    const float cx = (load(map, zero) * 2.0f - 0.5f + (float)cell.col) * stride;
    const float cy = (load(map, zero + plane) * 2.0f - 0.5f + (float)cell.row) * stride;
    const float twice_w = load(map, zero + 2 * plane) * 2.0f;
    const float twice_h = load(map, zero + 3 * plane) * 2.0f;
    const float half_w = twice_w * twice_w * head.anchors_wh[cell.anchor * 2] / 2.0f;
    const float half_h = twice_h * twice_h * head.anchors_wh[cell.anchor * 2 + 1] / 2.0f;
    box[0] = cx - half_w;
    box[1] = cy - half_h;
    box[2] = cx + half_w;
    box[3] = cy + half_h;
}

template <typename T>
__device__ void write_kept(const DecodeArgs& args) {
    __shared__ unsigned int kept[DECODE_BLOCK / 32];
    __shared__ int before_block;
    const int lane = threadIdx.x;
    const int index = blockIdx.x * blockDim.x + lane;
    const int image = blockIdx.y;
    const int* counts = args.block_counts + (long long)image * gridDim.x;
    const bool is_last = blockIdx.x + 1 == gridDim.x;
    if (counts[blockIdx.x] == 0 && !is_last) return;  // the whole block, so no barrier is missed
    if (lane == 0) before_block = 0;
    if (lane < DECODE_BLOCK / 32) kept[lane] = 0u;
    __syncthreads();
    int before = 0;
    for (int block = lane; block < (int)blockIdx.x; block += blockDim.x) before += counts[block];
    if (before) atomicAdd(&before_block, before);
    const long long cell_index = (long long)image * args.cells + index;
    const bool keep = index < args.cells && args.cell_classes[cell_index] != NOT_KEPT;
    if (keep) atomicOr(&kept[lane / 32], 1u << (lane % 32));
    __syncthreads();
    if (lane == 0 && is_last) args.count[image] = before_block + counts[blockIdx.x];
    if (!keep) return;
    int rank = __popc(kept[lane / 32] & ((1u << (lane % 32)) - 1u));
    for (int word = 0; word < lane / 32; ++word) rank += __popc(kept[word]);
    const long long out = (long long)image * args.cells + before_block + rank;
    args.scores[out] = args.cell_scores[cell_index];
    args.classes[out] = args.cell_classes[cell_index];
    write_box<T>(args, locate(args, index), image, args.boxes + out * 4);
}

extern "C" __global__ void decode_scores_f32(DecodeArgs args) { score_cells<float>(args); }
extern "C" __global__ void decode_scores_f16(DecodeArgs args) { score_cells<unsigned short>(args); }
extern "C" __global__ void decode_write_f32(DecodeArgs args) { write_kept<float>(args); }
extern "C" __global__ void decode_write_f16(DecodeArgs args) { write_kept<unsigned short>(args); }
