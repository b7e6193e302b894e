// Frames of any sizes into one network input: letterbox, BGR to RGB, 0..255 to 0..1, rows of pixels to planes.
//
// One thread makes one network pixel of one image. The bilinear weights are 11-bit integers and the sums are rounded
// as OpenCV documents and publishes its 8-bit INTER_LINEAR resize, so that both give the same grey levels.

#include "frame_table.cuh"

#define PAD_GREY 114
#define WEIGHT_ONE 2048
#define UNIT 0.003921568859368563f  // 1/255 as the CPU has it; a division differs in the last bit

struct PreprocessArgs {
    const FrameEntry* frames;  // (batch,)
    void* input;               // (batch, 3, network_h, network_w) RGB
    int network_w;
    int network_h;
};

struct Sample {
    int near;  // -1 is possible: the border counts again
    int weight_near;
    int weight_far;
};

// Where destination pixel `at` samples a side of `source` pixels that becomes `target` pixels.
__device__ Sample sample(int at, int source, int target) {
    // (at + 1/2) source / target - 1/2 as one exact fraction: double precision is slow on small GPUs.
    const int numerator = (2 * at + 1) * source - target;
    const int denominator = 2 * target;
    const int whole = numerator / denominator;
    const float fraction = (float)(numerator - whole * denominator) / (float)denominator;
    const float position = (float)whole + fraction;  // rounded to float here, as the reference does
    const int near = (int)floorf(position);  // the first pixels of an enlargement sample before the border
    const float far_share = position - (float)near;
    return {near, __float2int_rn((1.0f - far_share) * WEIGHT_ONE), __float2int_rn(far_share * WEIGHT_ONE)};
}

__device__ int clamp(int value, int limit) { return value < 0 ? 0 : value >= limit ? limit - 1 : value; }

__device__ int grey_level(const FrameEntry& frame, const Sample& x, const Sample& y, int channel) {
    const long long stride = (long long)frame.width * 3;
    const unsigned char* upper = frame.pixels + clamp(y.near, frame.height) * stride + channel;
    const unsigned char* lower = frame.pixels + clamp(y.near + 1, frame.height) * stride + channel;
    const int left = clamp(x.near, frame.width) * 3;
    const int right = clamp(x.near + 1, frame.width) * 3;
    const int top = upper[left] * x.weight_near + upper[right] * x.weight_far;
    const int bottom = lower[left] * x.weight_near + lower[right] * x.weight_far;
    return (((y.weight_near * (top >> 4)) >> 16) + ((y.weight_far * (bottom >> 4)) >> 16) + 2) >> 2;
}

__device__ void store(float* input, long long index, float value) { input[index] = value; }

// Round to nearest even; the values here are 0 or about 1/255 and more, so the half is never subnormal.
__device__ void store(unsigned short* input, long long index, float value) {
    const unsigned int bits = __float_as_uint(value);
    const unsigned int rounded = (bits + 0xFFFu + ((bits >> 13) & 1u)) >> 13;
    input[index] = value == 0.0f ? 0 : (unsigned short)(rounded - (112u << 10));
}

template <typename T>
__device__ void letterbox(const PreprocessArgs& args) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= args.network_w || y >= args.network_h) return;
    const FrameEntry frame = args.frames[blockIdx.z];
    const int resized_x = x - frame.pad_left;
    const int resized_y = y - frame.pad_top;
    const bool inside = resized_x >= 0 && resized_x < frame.resized_w && resized_y >= 0 && resized_y < frame.resized_h;
    const long long plane = (long long)args.network_w * args.network_h;
    const long long first = blockIdx.z * 3 * plane + (long long)y * args.network_w + x;
    const Sample across = sample(resized_x, frame.width, frame.resized_w);
    const Sample down = sample(resized_y, frame.height, frame.resized_h);
    for (int rgb = 0; rgb < 3; ++rgb) {
        const int grey = inside ? grey_level(frame, across, down, 2 - rgb) : PAD_GREY;
        store((T*)args.input, first + rgb * plane, (float)grey * UNIT);
    }
}

extern "C" __global__ void preprocess_f32(PreprocessArgs args) { letterbox<float>(args); }
extern "C" __global__ void preprocess_f16(PreprocessArgs args) { letterbox<unsigned short>(args); }
