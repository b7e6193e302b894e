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
    const unsigned char* pixels;  // (height, width, 3) BGR in device memory, rows without padding
    int width;
    int height;
    int resized_w;
    int resized_h;
    int pad_left;
    int pad_top;
    float to_frame_x;  // frame pixels a network pixel
    float to_frame_y;
};
