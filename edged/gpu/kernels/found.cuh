// A detection as the host reads it, and a box's way into it.
#pragma once

struct Found {
    float xyxy[4];  // frame pixels
    float confidence;
    int class_id;
};

__device__ bool is_finite(float value) { return fabsf(value) <= 3.402823466e+38f; }

__device__ float to_frame(float value, int padding, float factor, int limit) {
    return fminf(fmaxf((value - (float)padding) * factor, 0.0f), (float)limit);
}

// `box`: x1, y1, x2, y2 in network pixels. The float operations are those of Letterbox.to_frame, in order.
__device__ void report(const FrameEntry& frame, const float* box, float confidence, int class_id, Found* found) {
    found->xyxy[0] = to_frame(box[0], frame.pad_left, frame.to_frame_x, frame.width);
    found->xyxy[1] = to_frame(box[1], frame.pad_top, frame.to_frame_y, frame.height);
    found->xyxy[2] = to_frame(box[2], frame.pad_left, frame.to_frame_x, frame.width);
    found->xyxy[3] = to_frame(box[3], frame.pad_top, frame.to_frame_y, frame.height);
    found->confidence = confidence;
    found->class_id = class_id;
}
