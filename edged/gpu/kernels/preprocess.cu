// Frames of any sizes into one network input: letterbox, BGR or NV12 to RGB, 0..255 to 0..1, rows of pixels to planes.
//
// One thread makes one network pixel of one image. The bilinear weights are 11-bit integers and the sums are rounded
// as OpenCV documents and publishes its 8-bit INTER_LINEAR resize, so that both give the same grey levels.
//
// There is an entry for BGR and one for NV12. Each leaves frames of the other layout alone, so that both, one after the
// other, serve a batch that holds both.

#include "frame_table.cuh"

#define PAD_GREY 114
#define WEIGHT_ONE 2048
#define NV12_SHIFT 16
#define NV12_ONE (1 << NV12_SHIFT)
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

struct Rgb {
    int level[3];
};

struct Bgr {};
struct Nv12 {};

__device__ bool is_of(Bgr, const FrameEntry& frame) { return !frame.chroma; }
__device__ bool is_of(Nv12, const FrameEntry& frame) { return frame.chroma; }

__device__ Rgb rgb_at(Bgr, const FrameEntry& frame, int x, int y) {
    const unsigned char* pixel = frame.pixels + ((long long)y * frame.width + x) * 3;
    return {{pixel[2], pixel[1], pixel[0]}};
}

__device__ int cut(int scaled) {
    const int level = (scaled + NV12_ONE / 2) >> NV12_SHIFT;
    return level < 0 ? 0 : level > 255 ? 255 : level;
}

// Each pixel of a block of two by two has the block's one pair of colour differences, as OpenCV and FFmpeg's fast
// conversion have it. Pixels become RGB before they are blended: what lies outside 0..255 is cut off there on the CPU.
__device__ Rgb rgb_at(Nv12, const FrameEntry& frame, int x, int y) {
    const unsigned char* pair = frame.chroma + (long long)(y >> 1) * frame.chroma_pitch + (x >> 1) * 2;
    const int luma = (frame.pixels[(long long)y * frame.luma_pitch + x] - frame.black) * frame.luma_gain;
    const int blue = pair[0] - 128, red = pair[1] - 128;
    return {{cut(luma + frame.red_of_red * red),
             cut(luma + frame.green_of_blue * blue + frame.green_of_red * red),
             cut(luma + frame.blue_of_blue * blue)}};
}

__device__ int clamp(int value, int limit) { return value < 0 ? 0 : value >= limit ? limit - 1 : value; }

template <typename Layout>
__device__ Rgb blended(Layout kind, const FrameEntry& frame, const Sample& x, const Sample& y) {
    const int left = clamp(x.near, frame.width), right = clamp(x.near + 1, frame.width);
    const int upper = clamp(y.near, frame.height), lower = clamp(y.near + 1, frame.height);
    const Rgb upper_left = rgb_at(kind, frame, left, upper), upper_right = rgb_at(kind, frame, right, upper);
    const Rgb lower_left = rgb_at(kind, frame, left, lower), lower_right = rgb_at(kind, frame, right, lower);
    Rgb result;
    for (int rgb = 0; rgb < 3; ++rgb) {
        const int top = upper_left.level[rgb] * x.weight_near + upper_right.level[rgb] * x.weight_far;
        const int bottom = lower_left.level[rgb] * x.weight_near + lower_right.level[rgb] * x.weight_far;
        result.level[rgb] = (((y.weight_near * (top >> 4)) >> 16) + ((y.weight_far * (bottom >> 4)) >> 16) + 2) >> 2;
    }
    return result;
}

__device__ void store(float* input, long long index, float value) { input[index] = value; }

// Round to nearest even; the values here are 0 or about 1/255 and more, so the half is never subnormal.
__device__ void store(unsigned short* input, long long index, float value) {
    const unsigned int bits = __float_as_uint(value);
    const unsigned int rounded = (bits + 0xFFFu + ((bits >> 13) & 1u)) >> 13;
    input[index] = value == 0.0f ? 0 : (unsigned short)(rounded - (112u << 10));
}

template <typename T, typename Layout>
__device__ void letterbox(const PreprocessArgs& args) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= args.network_w || y >= args.network_h) return;
    const FrameEntry frame = args.frames[blockIdx.z];
    if (!is_of(Layout(), frame)) return;
    const int resized_x = x - frame.pad_left;
    const int resized_y = y - frame.pad_top;
    const bool inside = resized_x >= 0 && resized_x < frame.resized_w && resized_y >= 0 && resized_y < frame.resized_h;
    const long long plane = (long long)args.network_w * args.network_h;
    const long long first = blockIdx.z * 3 * plane + (long long)y * args.network_w + x;
    const Sample across = sample(resized_x, frame.width, frame.resized_w);
    const Sample down = sample(resized_y, frame.height, frame.resized_h);
    const Rgb pixel = inside ? blended(Layout(), frame, across, down) : Rgb{{PAD_GREY, PAD_GREY, PAD_GREY}};
    for (int rgb = 0; rgb < 3; ++rgb) store((T*)args.input, first + rgb * plane, (float)pixel.level[rgb] * UNIT);
}

extern "C" __global__ void preprocess_f32(PreprocessArgs args) { letterbox<float, Bgr>(args); }
extern "C" __global__ void preprocess_f16(PreprocessArgs args) { letterbox<unsigned short, Bgr>(args); }
extern "C" __global__ void preprocess_nv12_f32(PreprocessArgs args) { letterbox<float, Nv12>(args); }
extern "C" __global__ void preprocess_nv12_f16(PreprocessArgs args) { letterbox<unsigned short, Nv12>(args); }
