// The detections among finished boxes (a model of decode `list`): threshold, admitted classes, the best first.
//
// Nothing is decoded and nothing suppressed. As in nms.cu each row finds its place by falling score by counting the
// rows before it: no sorting network, no race, no atomics, equal scores in the rows' order. The rules are those of
// edged.cpu.rows, and both agree bit by bit.

#include "frame_table.cuh"
#include "found.cuh"

#define ROWS_BLOCK 256
#define ROW_VALUES 6
#define NOT_COUNTED -1.0f  // below any score that passes

struct RowsArgs {
    const Limits* limits;
    const FrameEntry* frames;       // (batch,)
    const float* rows;              // (batch, count, ROW_VALUES): x1, y1, x2, y2 in network pixels, score, class id
    const unsigned char* admitted;  // (num_classes,) 0 where a class is filtered out
    int* found_count;               // (batch,)
    Found* found;                   // (batch, limit) where limit is the smaller of max_detections and capacity
    int count;                      // rows of an image
    int num_classes;
    int capacity;  // of `found`, reserved for an image
};

// The row's score, or NOT_COUNTED.
__device__ float counted_score(const RowsArgs& args, const float* row) {
    bool counts = row[4] > args.limits->confidence && row[0] <= row[2] && row[1] <= row[3];
    for (int k = 0; k < ROW_VALUES; ++k) counts = counts && is_finite(row[k]);
    // Compared as numbers first: the cast of a number beyond int is undefined.
    if (!counts || !(row[5] >= 0.0f && row[5] < (float)args.num_classes)) return NOT_COUNTED;
    const int class_id = (int)row[5];
    return (float)class_id == row[5] && args.admitted[class_id] ? row[4] : NOT_COUNTED;
}

extern "C" __global__ void __launch_bounds__(ROWS_BLOCK) rows_pick(RowsArgs args) {
    __shared__ float tile[ROWS_BLOCK];
    const int image = blockIdx.y;
    const int lane = threadIdx.x;
    const int own = blockIdx.x * blockDim.x + lane;
    const float* rows = args.rows + (long long)image * args.count * ROW_VALUES;
    const float score = own < args.count ? counted_score(args, rows + (long long)own * ROW_VALUES) : NOT_COUNTED;
    int before = 0;
    int counted = 0;
    for (int start = 0; start < args.count; start += blockDim.x) {
        const int other = start + lane;
        tile[lane] = other < args.count ? counted_score(args, rows + (long long)other * ROW_VALUES) : NOT_COUNTED;
        __syncthreads();
        for (int k = 0; k < (int)blockDim.x; ++k) {
            counted += tile[k] >= 0.0f;
            before += tile[k] > score || (tile[k] == score && start + k < own);
        }
        __syncthreads();
    }
    const int wanted = args.limits->max_detections;
    const int limit = wanted < args.capacity ? wanted : args.capacity;
    if (own == 0) args.found_count[image] = counted < limit ? counted : limit;
    if (score < 0.0f || before >= limit) return;
    const float* row = rows + (long long)own * ROW_VALUES;
    report(args.frames[image], row, score, (int)row[5], args.found + (long long)image * limit + before);
}
