// What changes from batch to batch: the limits, and where each frame lies and how it is letterboxed.
// Both have fixed addresses in device memory, so a captured graph serves frames of any size and a reload.
#pragma once

struct Limits {
    float confidence;  // first: the decode reads it as its threshold
    float iou_threshold;
    int max_detections;
    int reserved;
};

struct FrameEntry {
    const unsigned char* pixels;  // BGR: (height, width, 3), rows without padding; NV12: (height, width) luma
    int width;
    int height;
    int resized_w;
    int resized_h;
    int pad_left;
    int pad_top;
    float to_frame_x;  // frame pixels a network pixel
    float to_frame_y;
    const unsigned char* chroma;  // NV12: (ceil(height / 2), ceil(width / 2), 2) differences of blue, of red; BGR: null
    int luma_pitch;  // bytes from row to row; this and all below are of NV12
    int chroma_pitch;
    int black;       // luma of black
    int luma_gain;   // this and all below in 1/65536
    int red_of_red;  // levels of red a step of the difference of red
    int green_of_blue;
    int green_of_red;
    int blue_of_blue;
};
