/* The stages around the model in machine code: planes of the input; decode, NMS and the way back to frame pixels.
 *
 * It repeats numpy's version (preprocess.py, decode.py, nms.py, core/letterbox.py) operation by operation in float32, so
 * the results are equal to the last bit; hence no fused multiply-add (-ffp-contract=off). Nothing is allocated here.
 * Plain C without Python's headers; native.py loads it and repeats the structures.
 */
#define _POSIX_C_SOURCE 199309L
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define BOX 4       /* x, y, width, height */
#define OBJECTNESS 4
#define CLASSES 5   /* where they begin among a cell's channels */

/* Taking every third byte needs a byte shuffle, which the oldest x86-64 lacks; the C library picks the right version. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "ssse3", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* (height, width, 3) uint8 BGR, contiguous -> three float32 planes RGB times `unit`, each row `row_stride` floats on. */
FOR_EACH_PROCESSOR
void edged_planes(const uint8_t *bgr, int64_t width, int64_t height, float unit, float *restrict red,
                  float *restrict green, float *restrict blue, int64_t row_stride)
{
    for (int64_t y = 0; y < height; y++) {
        for (int64_t x = 0; x < width; x++) {
            blue[x] = (float)bgr[3 * x] * unit;
            green[x] = (float)bgr[3 * x + 1] * unit;
            red[x] = (float)bgr[3 * x + 2] * unit;
        }
        bgr += 3 * width;
        red += row_stride, green += row_stride, blue += row_stride;
    }
}

/* The first best class of a cell; its probability is NaN where any of them is. */
static int64_t best_class(const float *cell, int64_t plane, int64_t classes, float *probability)
{
    int64_t best = 0;
    float highest = cell[0];
    int poisoned = isnan(highest);
    for (int64_t c = 1; c < classes; c++) {
        const float p = cell[c * plane];
        poisoned |= isnan(p);
        if (p > highest) {
            highest = p;
            best = c;
        }
    }
    *probability = poisoned ? NAN : highest;
    return best;
}

/* One output of the model: (anchors * (CLASSES + classes), rows, columns) float32, sigmoided. */
struct head {
    const float *values;
    const float *anchor_wh; /* pairs, network pixels */
    int64_t anchors, classes, rows, columns;
    float stride;
};

/* Where frames of one size lie in the network's input; all pairs are x, y. */
struct fit {
    float offset[2], factor[2], limit[2];
};

/* Boxes as columns. */
struct boxes {
    float *xyxy; /* (room, 4) */
    float *score;
    int32_t *class_id;
};

/* What one thread works with. All memory is the caller's. */
struct work {
    const struct head *heads;
    int64_t head_count;
    struct boxes candidates; /* room for every cell of all heads */
    int32_t *order, *spare;  /* the same */
    struct boxes kept;       /* room for what `most` allows */
    float *areas;            /* the same, of the kept ones in network pixels */
    int32_t *kept_index;     /* the same, among the candidates */
};

/* Candidates of one head behind the `found` first ones, in order of anchor, row, column. Returns how many there are now.
 * wanted: one byte a class, 0 for those that do not count; NULL for all. */
static int64_t decode(const struct head *head, float threshold, const uint8_t *wanted, const struct boxes *to,
                      int64_t found)
{
    const int64_t plane = head->rows * head->columns;
    const float *cells = head->values;
    for (int64_t a = 0; a < head->anchors; a++, cells += (CLASSES + head->classes) * plane) {
        const float *objectness = cells + OBJECTNESS * plane;
        for (int64_t at = 0; at < plane; at++) {
            if (!(objectness[at] > threshold))
                continue;
            float probability;
            const int64_t best = best_class(cells + CLASSES * plane + at, plane, head->classes, &probability);
            const float score = probability * objectness[at];
            if (!(score > threshold) || (wanted && !wanted[best]))
                continue;
            const float place[2] = {(float)(at % head->columns), (float)(at / head->columns)};
            float *box = to->xyxy + BOX * found;
            for (int side = 0; side < 2; side++) {
                float centre = cells[side * plane + at] * 2.0f;
                float half = cells[(2 + side) * plane + at] * 2.0f;
                centre -= 0.5f;
                centre += place[side];
                centre *= head->stride;
                half *= half;
                half *= head->anchor_wh[2 * a + side];
                half *= 0.5f;
                box[side] = centre - half;
                box[2 + side] = centre + half;
            }
            if (!(isfinite(box[0]) && isfinite(box[1]) && isfinite(box[2]) && isfinite(box[3])))
                continue;
            to->score[found] = score;
            to->class_id[found] = (int32_t)best;
            found++;
        }
    }
    return found;
}

/* Whether a comes before b: by falling score, else in the order in which they came. Scores are never NaN here. */
static int before(const float *score, int32_t a, int32_t b)
{
    return score[a] > score[b] || (score[a] == score[b] && a < b);
}

/* Bottom-up merge sort of indices; `spare` is as long. Returns the one of the two that holds the outcome. */
static int32_t *sorted(const float *score, int32_t *order, int32_t *spare, int64_t count)
{
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t start = 0; start < count; start += 2 * width) {
            const int64_t middle = start + width < count ? start + width : count;
            const int64_t end = start + 2 * width < count ? start + 2 * width : count;
            int64_t left = start, right = middle;
            for (int64_t to = start; to < end; to++) {
                const int from_left = left < middle && (right >= end || !before(score, order[right], order[left]));
                spare[to] = from_left ? order[left++] : order[right++];
            }
        }
        int32_t *swap = order;
        order = spare;
        spare = swap;
    }
    return order;
}

/* numpy's maximum and minimum: a NaN on either side is the outcome. */
static float larger(float a, float b) { return isnan(a) || a > b ? a : b; }
static float smaller(float a, float b) { return isnan(a) || a < b ? a : b; }

static float area(const float *box) { return (box[2] - box[0]) * (box[3] - box[1]); }

static float overlap(const float *a, float area_a, const float *b, float least_area)
{
    float shared = larger(smaller(a[2], b[2]) - larger(a[0], b[0]), 0.0f);
    shared *= smaller(a[3], b[3]) - larger(a[1], b[1]);
    return shared / larger(area_a + area(b) - shared, least_area);
}

/* Greedy and class-aware; only the best `considered` of `count` candidates take part. Returns how many stay. */
static int64_t suppress(const struct work *work, int64_t count, float limit, float least_area, int64_t considered,
                        int64_t most)
{
    const struct boxes *from = &work->candidates;
    int64_t stay = 0;
    for (int64_t i = 0; i < count; i++)
        work->order[i] = (int32_t)i;
    const int32_t *order = sorted(from->score, work->order, work->spare, count);
    for (int64_t i = 0; i < count && i < considered && stay < most; i++) {
        const int32_t at = order[i];
        const float *box = from->xyxy + BOX * at;
        int beaten = 0;
        for (int64_t k = 0; k < stay && !beaten; k++) {
            const int32_t better = work->kept_index[k];
            beaten = from->class_id[better] == from->class_id[at] &&
                     overlap(from->xyxy + BOX * better, work->areas[k], box, least_area) > limit;
        }
        if (!beaten) {
            work->areas[stay] = area(box);
            work->kept_index[stay++] = at;
        }
    }
    return stay;
}

/* The kept boxes in frame pixels, clipped to the frame. */
static void deliver(const struct work *work, const struct fit *fit, int64_t stay)
{
    for (int64_t k = 0; k < stay; k++) {
        const int32_t at = work->kept_index[k];
        for (int side = 0; side < BOX; side++) {
            const float place = (work->candidates.xyxy[BOX * at + side] - fit->offset[side % 2]) * fit->factor[side % 2];
            work->kept.xyxy[BOX * k + side] = smaller(larger(place, 0.0f), fit->limit[side % 2]);
        }
        work->kept.score[k] = work->candidates.score[at];
        work->kept.class_id[k] = work->candidates.class_id[at];
    }
}

/* Heads -> boxes in `work->kept`, by falling score. Returns how many; decoded_ns: CLOCK_MONOTONIC after decode. */
int64_t edged_finish(const struct work *work, const struct fit *fit, float threshold, const uint8_t *wanted, float limit,
                     float least_area, int64_t considered, int64_t most, int64_t *decoded_ns)
{
    int64_t found = 0;
    for (int64_t h = 0; h < work->head_count; h++)
        found = decode(work->heads + h, threshold, wanted, &work->candidates, found);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *decoded_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    const int64_t stay = suppress(work, found, limit, least_area, considered, most);
    deliver(work, fit, stay);
    return stay;
}
