// Greedy, class-aware non-maximum suppression of one batch, and the kept boxes back in frame pixels.
//
// nms_rank finds every admitted candidate's place by falling score by counting those before it: no sorting network,
// no race, ties by candidate order. nms_greedy then walks that list, one block an image, in shared memory, and stops
// at the detection limit. The float operations are those of edged.core.boxes.box_iou and Letterbox.to_frame, in order.
//
// Counting is quadratic. Where the decode's threshold lies far below the one in force, thousands of candidates are there
// for some dozens admitted: nms_admit lists those first, and nms_rank works on the list.

#include "frame_table.cuh"
#include "found.cuh"

#define ADMIT_BLOCK 1024
#define RANK_BLOCK 256
#define MAX_CANDIDATES 8192

struct NmsArgs {
    const Limits* limits;
    const FrameEntry* frames;        // (batch,)
    const int* count;                // (batch,) candidates
    const float* boxes;              // (batch, cells, 4) xyxy, network pixels
    const float* scores;             // (batch, cells)
    const int* classes;              // (batch, cells)
    const unsigned char* admitted;   // (num_classes,) 0 where a class is filtered out
    int* listed_count;               // (batch,) workspace of nms_admit: admitted candidates
    int* listed;                     // (batch, cells) workspace: their numbers in order; null where nms_admit is not run
    int* ranked;                     // (batch,) workspace, zero at the start: candidates in the list
    float* ranked_boxes;             // (batch, MAX_CANDIDATES, 4) workspace
    float* ranked_scores;            // (batch, MAX_CANDIDATES) workspace
    int* ranked_classes;             // (batch, MAX_CANDIDATES) workspace
    int* found_count;                // (batch,)
    Found* found;                    // (batch, rows) where rows is the smaller of max_detections and capacity
    int cells;
    int num_classes;
    int capacity;  // rows of `found` reserved for an image
};

// Reads before it compares, so that nothing waits for memory twice.
__device__ bool is_admitted(const NmsArgs& args, long long candidate) {
    const float score = args.scores[candidate];
    const int class_id = args.classes[candidate];
    const float* box = args.boxes + candidate * 4;
    const bool finite = is_finite(box[0]) & is_finite(box[1]) & is_finite(box[2]) & is_finite(box[3]);
    return finite && score > args.limits->confidence && class_id >= 0 && class_id < args.num_classes &&
           args.admitted[class_id];
}

__device__ int candidate_count(const NmsArgs& args, int image) {
    const int reported = args.count[image];
    return reported < args.cells ? reported : args.cells;
}

extern "C" __global__ void __launch_bounds__(ADMIT_BLOCK) nms_admit(NmsArgs args) {
    __shared__ unsigned int admitted[ADMIT_BLOCK / 32];
    const int image = blockIdx.x;
    const int lane = threadIdx.x;
    const int count = candidate_count(args, image);
    const long long first = (long long)image * args.cells;
    int before = 0;
    for (int start = 0; start < count; start += blockDim.x) {
        if (lane < ADMIT_BLOCK / 32) admitted[lane] = 0u;
        __syncthreads();
        const bool is_listed = start + lane < count && is_admitted(args, first + start + lane);
        if (is_listed) atomicOr(&admitted[lane / 32], 1u << (lane % 32));
        __syncthreads();
        int place = before + __popc(admitted[lane / 32] & ((1u << (lane % 32)) - 1u));
        for (int word = 0; word < ADMIT_BLOCK / 32; ++word) {
            const int in_word = __popc(admitted[word]);
            if (word < lane / 32) place += in_word;
            before += in_word;
        }
        if (is_listed) args.listed[first + place] = start + lane;
        __syncthreads();
    }
    if (lane == 0) args.listed_count[image] = before;
}

// What nms_rank works on: place 0..entry_count of the list, which are the candidates themselves where there is none.
__device__ int entry_count(const NmsArgs& args, int image) {
    return args.listed ? args.listed_count[image] : candidate_count(args, image);
}

__device__ long long entry(const NmsArgs& args, long long first, int place) {
    return first + (args.listed ? args.listed[first + place] : place);
}

extern "C" __global__ void nms_rank(NmsArgs args) {
    __shared__ float tile_scores[RANK_BLOCK];
    __shared__ bool tile_admitted[RANK_BLOCK];
    const int image = blockIdx.y;
    const int count = entry_count(args, image);
    if ((int)(blockIdx.x * blockDim.x) >= count) return;  // the whole block, so no barrier is missed
    const int lane = threadIdx.x;
    const int own = blockIdx.x * blockDim.x + lane;
    const long long first = (long long)image * args.cells;
    const long long candidate = own < count ? entry(args, first, own) : first;
    const bool admitted = own < count && is_admitted(args, candidate);
    const float score = admitted ? args.scores[candidate] : 0.0f;
    int rank = 0;
    for (int start = 0; start < count; start += blockDim.x) {
        if (start + lane < count) {
            const long long other = entry(args, first, start + lane);
            tile_admitted[lane] = is_admitted(args, other);
            tile_scores[lane] = args.scores[other];
        }
        __syncthreads();
        for (int k = 0; k < (int)blockDim.x && start + k < count; ++k) {
            const bool before = tile_scores[k] > score || (tile_scores[k] == score && start + k < own);
            rank += tile_admitted[k] && before;
        }
        __syncthreads();
    }
    if (!admitted || rank >= MAX_CANDIDATES) return;
    atomicMax(&args.ranked[image], rank + 1);
    const long long place = (long long)image * MAX_CANDIDATES + rank;
    for (int side = 0; side < 4; ++side) args.ranked_boxes[place * 4 + side] = args.boxes[candidate * 4 + side];
    args.ranked_scores[place] = score;
    args.ranked_classes[place] = args.classes[candidate];
}

__device__ float area(const float* box) { return (box[2] - box[0]) * (box[3] - box[1]); }

__device__ float intersection_over_union(const float* a, const float* b) {
    const float width = fmaxf(fminf(a[2], b[2]) - fmaxf(a[0], b[0]), 0.0f);
    const float height = fmaxf(fminf(a[3], b[3]) - fmaxf(a[1], b[1]), 0.0f);
    const float intersection = width * height;
    const float both = area(a) + area(b) - intersection;
    return both > 0.0f ? intersection / both : 0.0f;
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
    const int rows = wanted < args.capacity ? wanted : args.capacity;
    int kept = 0;
    while (kept < rows) {
        if (threadIdx.x == 0) current = next_clear(suppressed, current + 1, count);
        __syncthreads();
        const int best = current;
        if (best >= count) break;
        if (threadIdx.x == 0) {
            const long long place = first + best;
            report(args.frames[image], args.ranked_boxes + place * 4, args.ranked_scores[place],
                   args.ranked_classes[place], args.found + (long long)image * rows + kept);
        }
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
