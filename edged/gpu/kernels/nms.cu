// Greedy, class-aware non-maximum suppression of one batch, and the kept boxes back in frame pixels.
//
// nms_rank finds every admitted candidate's place by falling score by counting those before it: no sorting network,
// no race, ties by candidate order. nms_greedy then walks that list, one block an image, in shared memory, and stops
// at the detection limit. The float operations are those of edged.core.boxes.box_iou and Letterbox.to_frame, in order.

#include "frame_table.cuh"

#define RANK_BLOCK 256
#define MAX_CANDIDATES 8192

struct Found {
    float xyxy[4];  // frame pixels
    float confidence;
    int class_id;
};

struct NmsArgs {
    const Limits* limits;
    const FrameEntry* frames;        // (batch,)
    const int* count;                // (batch,) candidates
    const float* boxes;              // (batch, cells, 4) xyxy, network pixels
    const float* scores;             // (batch, cells)
    const int* classes;              // (batch, cells)
    const unsigned char* admitted;   // (num_classes,) 0 where a class is filtered out
    int* ranked;                     // (batch,) workspace, zero at the start: candidates in the list
    float* ranked_boxes;             // (batch, MAX_CANDIDATES, 4) workspace
    float* ranked_scores;            // (batch, MAX_CANDIDATES) workspace
    int* ranked_classes;             // (batch, MAX_CANDIDATES) workspace
    int* found_count;                // (batch,)
    Found* found;                    // (batch, capacity)
    int cells;
    int num_classes;
    int capacity;  // rows of `found` an image
};

__device__ bool is_finite(float value) { return fabsf(value) <= 3.402823466e+38f; }

__device__ bool is_admitted(const NmsArgs& args, long long candidate) {
    const int class_id = args.classes[candidate];
    const float* box = args.boxes + candidate * 4;
    return args.scores[candidate] > args.limits->confidence && class_id >= 0 && class_id < args.num_classes &&
           args.admitted[class_id] && is_finite(box[0]) && is_finite(box[1]) && is_finite(box[2]) && is_finite(box[3]);
}

extern "C" __global__ void nms_rank(NmsArgs args) {
    __shared__ float tile_scores[RANK_BLOCK];
    __shared__ bool tile_admitted[RANK_BLOCK];
    const int image = blockIdx.y;
    const int reported = args.count[image];
    const int count = reported < args.cells ? reported : args.cells;
    if ((int)(blockIdx.x * blockDim.x) >= count) return;  // the whole block, so no barrier is missed
    const int lane = threadIdx.x;
    const int own = blockIdx.x * blockDim.x + lane;
    const long long first = (long long)image * args.cells;
    const bool admitted = own < count && is_admitted(args, first + own);
    const float score = admitted ? args.scores[first + own] : 0.0f;
    int rank = 0;
    for (int start = 0; start < count; start += blockDim.x) {
        const int other = start + lane;
        tile_admitted[lane] = other < count && is_admitted(args, first + other);
        tile_scores[lane] = tile_admitted[lane] ? args.scores[first + other] : 0.0f;
        __syncthreads();
        for (int k = 0; k < (int)blockDim.x; ++k) {
            const bool before = tile_scores[k] > score || (tile_scores[k] == score && start + k < own);
            rank += tile_admitted[k] && before;
        }
        __syncthreads();
    }
    if (!admitted || rank >= MAX_CANDIDATES) return;
    atomicMax(&args.ranked[image], rank + 1);
    const long long place = (long long)image * MAX_CANDIDATES + rank;
    for (int side = 0; side < 4; ++side) args.ranked_boxes[place * 4 + side] = args.boxes[(first + own) * 4 + side];
    args.ranked_scores[place] = score;
    args.ranked_classes[place] = args.classes[first + own];
}

__device__ float area(const float* box) { return (box[2] - box[0]) * (box[3] - box[1]); }

__device__ float intersection_over_union(const float* a, const float* b) {
    const float width = fmaxf(fminf(a[2], b[2]) - fmaxf(a[0], b[0]), 0.0f);
    const float height = fmaxf(fminf(a[3], b[3]) - fmaxf(a[1], b[1]), 0.0f);
    const float intersection = width * height;
    const float both = area(a) + area(b) - intersection;
    return both > 0.0f ? intersection / both : 0.0f;
}

__device__ float to_frame(float value, int padding, float factor, int limit) {
    return fminf(fmaxf((value - (float)padding) * factor, 0.0f), (float)limit);
}

__device__ void report(const NmsArgs& args, int image, int slot, long long place) {
    const FrameEntry frame = args.frames[image];
    const float* box = args.ranked_boxes + place * 4;
    Found& found = args.found[(long long)image * args.capacity + slot];
    found.xyxy[0] = to_frame(box[0], frame.pad_left, frame.to_frame_x, frame.width);
    found.xyxy[1] = to_frame(box[1], frame.pad_top, frame.to_frame_y, frame.height);
    found.xyxy[2] = to_frame(box[2], frame.pad_left, frame.to_frame_x, frame.width);
    found.xyxy[3] = to_frame(box[3], frame.pad_top, frame.to_frame_y, frame.height);
    found.confidence = args.ranked_scores[place];
    found.class_id = args.ranked_classes[place];
}

// The first index from `start` on whose bit is clear; `count` when there is none.
__device__ int next_clear(const unsigned int* bits, int start, int count) {
    for (int word = start / 32; word * 32 < count; ++word) {
        unsigned int open = ~bits[word];
        if (word == start / 32) open &= 0xFFFFFFFFu << (start % 32);
        if (open) {
            const int index = word * 32 + __ffs((int)open) - 1;
            return index < count ? index : count;
        }
    }
    return count;
}

extern "C" __global__ void nms_greedy(NmsArgs args) {
    __shared__ unsigned int suppressed[MAX_CANDIDATES / 32];
    __shared__ int current;
    const int image = blockIdx.x;
    const int count = args.ranked[image];
    const long long first = (long long)image * MAX_CANDIDATES;
    for (int word = threadIdx.x; word < MAX_CANDIDATES / 32; word += blockDim.x) suppressed[word] = 0u;
    if (threadIdx.x == 0) current = -1;
    __syncthreads();
    const float iou_threshold = args.limits->iou_threshold;
    const int wanted = args.limits->max_detections;
    const int capacity = wanted < args.capacity ? wanted : args.capacity;
    int kept = 0;
    while (kept < capacity) {
        if (threadIdx.x == 0) current = next_clear(suppressed, current + 1, count);
        __syncthreads();
        const int best = current;
        if (best >= count) break;
        if (threadIdx.x == 0) report(args, image, kept, first + best);
        ++kept;
        const float* best_box = args.ranked_boxes + (first + best) * 4;
        for (int other = best + 1 + threadIdx.x; other < count; other += blockDim.x) {
            const bool same_class = args.ranked_classes[first + other] == args.ranked_classes[first + best];
            const float* box = args.ranked_boxes + (first + other) * 4;
            if (same_class && intersection_over_union(best_box, box) > iou_threshold)
                atomicOr(&suppressed[other / 32], 1u << (other % 32));
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) args.found_count[image] = kept;
}
