/* Scaling a picture straight into the planes of the network's input: bilinear, BGR to RGB, 0..1, in one pass.
 *
 * The arithmetic is that of OpenCV's resize with INTER_LINEAR on bytes, so the results are equal to the last bit: weights
 * of 11 bits; along x exact, kept to 15 bits; along y the two products lose 16 bits each and their sum is rounded by 2.
 * Each row of the source is scaled along x once. Needs AVX2; others scale with OpenCV and then use edged_planes.
 */
#include <stddef.h>
#include <stdint.h>

#define CHANNELS 3

/* How frames of one size are scaled to one size; scaling.py makes it and repeats it. */
struct scaling {
    int64_t source_width, source_height, width, height;
    const int32_t *column;      /* (width) byte in a row where the left one of two source pixels begins, rising */
    const int16_t *across;      /* (width, 8) weights of left and right, in turn */
    int64_t whole;              /* so many of the first columns can be read 8 bytes at a time within the row */
    const int32_t *upper, *lower; /* (height) source rows */
    const int16_t *down;        /* (height, 2) their weights */
    int16_t *scaled;            /* scratch: (2, CHANNELS, width) */
};

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

int edged_can_scale(void) { return __builtin_cpu_supports("avx2") != 0; }

#define AVX2 __attribute__((target("avx2")))
#define AT_ONCE 8

/* Two pixels of the scaled row: 32-bit B G R 0 of the one and of the other. */
AVX2 static inline __m256i two_across(const uint8_t *row, const int32_t *column, const int16_t *across)
{
    /* b g r of the left and of the right source pixel -> b b g g r r */
    const __m128i pairs = _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1);
    const __m128i first = _mm_loadl_epi64((const __m128i *)(row + column[0]));
    const __m128i second = _mm_loadl_epi64((const __m128i *)(row + column[1]));
    const __m128i bytes = _mm_shuffle_epi8(_mm_unpacklo_epi64(first, second), pairs);
    const __m256i weights = _mm256_loadu_si256((const __m256i *)across);
    return _mm256_srli_epi32(_mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), weights), 4);
}

/* One source row -> rows of its blue, green and red, each `width` of 15 bits. */
AVX2 static void scale_across(const struct scaling *s, const uint8_t *row, int16_t *to)
{
    int16_t *blue = to, *green = to + s->width, *red = to + 2 * s->width;
    int64_t x = 0;
    for (; x + AT_ONCE <= s->whole; x += AT_ONCE) {
        const int32_t *column = s->column + x;
        const int16_t *across = s->across + 8 * x;
        const __m256i front = _mm256_packs_epi32(two_across(row, column, across), two_across(row, column + 2, across + 16));
        const __m256i back =
            _mm256_packs_epi32(two_across(row, column + 4, across + 32), two_across(row, column + 6, across + 48));
        /* The low half holds pixels 0 2 4 6, the high half 1 3 5 7. */
        const __m256i low = _mm256_unpacklo_epi16(front, back), high = _mm256_unpackhi_epi16(front, back);
        const __m256i blue_green = _mm256_unpacklo_epi16(low, high), red_only = _mm256_unpackhi_epi16(low, high);
        const __m128i even = _mm256_castsi256_si128(blue_green), odd = _mm256_extracti128_si256(blue_green, 1);
        _mm_storeu_si128((__m128i *)(blue + x), _mm_unpacklo_epi16(even, odd));
        _mm_storeu_si128((__m128i *)(green + x), _mm_unpackhi_epi16(even, odd));
        _mm_storeu_si128((__m128i *)(red + x), _mm_unpacklo_epi16(_mm256_castsi256_si128(red_only),
                                                                  _mm256_extracti128_si256(red_only, 1)));
    }
    for (; x < s->width; x++) {
        const uint8_t *left = row + s->column[x];
        const int32_t left_weight = s->across[8 * x], right_weight = s->across[8 * x + 1];
        const uint8_t *right = right_weight ? left + CHANNELS : left; /* the last pixel has none on its right */
        for (int channel = 0; channel < CHANNELS; channel++)
            to[channel * s->width + x] =
                (int16_t)((left[channel] * left_weight + right[channel] * right_weight) >> 4);
    }
}

/* Two scaled rows of one colour -> one row of its plane. */
AVX2 static void scale_down(const int16_t *upper, const int16_t *lower, const int16_t weight[2], float unit, int64_t width,
                            float *restrict to)
{
    for (int64_t x = 0; x < width; x++) {
        const int16_t above = (int16_t)((upper[x] * weight[0]) >> 16), below = (int16_t)((lower[x] * weight[1]) >> 16);
        to[x] = (float)((int16_t)(above + below + 2) >> 2) * unit;
    }
}

/* (source_height, source_width, 3) uint8 BGR, contiguous -> planes (height, width) float32 times `unit`, each row
 * `row_stride` floats on. */
AVX2 void edged_scale(const struct scaling *s, const uint8_t *bgr, float unit, float *red, float *green, float *blue,
                      int64_t row_stride)
{
    float *planes[CHANNELS] = {blue, green, red};
    int64_t held[2] = {-1, -1}; /* source rows that `scaled` has, by whether they are even or odd */
    for (int64_t y = 0; y < s->height; y++) {
        const int64_t rows[2] = {s->upper[y], s->lower[y]};
        for (int which = 0; which < 2; which++) {
            const int64_t row = rows[which];
            if (held[row % 2] != row) {
                held[row % 2] = row;
                scale_across(s, bgr + row * s->source_width * CHANNELS, s->scaled + row % 2 * CHANNELS * s->width);
            }
        }
        for (int channel = 0; channel < CHANNELS; channel++) {
            const int16_t *upper = s->scaled + (rows[0] % 2 * CHANNELS + channel) * s->width;
            const int16_t *lower = s->scaled + (rows[1] % 2 * CHANNELS + channel) * s->width;
            scale_down(upper, lower, s->down + 2 * y, unit, s->width, planes[channel] + y * row_stride);
        }
    }
}

#else

int edged_can_scale(void) { return 0; }

void edged_scale(const struct scaling *s, const uint8_t *bgr, float unit, float *red, float *green, float *blue,
                 int64_t row_stride)
{
    (void)s, (void)bgr, (void)unit, (void)red, (void)green, (void)blue, (void)row_stride;
}

#endif
