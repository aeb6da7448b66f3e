// Weighted sums of maps, and the sums over the batch that their derivatives need.
#pragma once

#include "vectors.h"

namespace {

// total[p][c] = (adds ? total[p][c] : 0) + shift[c] + sum_k scale[k][c] * maps[k][p][c]
template <class T>
void weighted_sum(int64_t pixels, int64_t channels, int64_t count, const void *const *maps, const double *scale, const double *shift, void *total,
                  bool adds, int64_t threads) {
    constexpr int lanes = Vector<T>::lanes;
    // A vector of the period: `lanes` pixels begin at channel 0 again after `channels` vectors.
    const int64_t period = channels, all = pixels * channels, vectors = all / lanes;
    Buffer<T> scales(count * period), shifts(period);
    for (int64_t i = 0; i < period * lanes; ++i) {
        shifts.scalars()[i] = T(shift[i % channels]);
        for (int64_t k = 0; k < count; ++k) scales.scalars()[k * period * lanes + i] = T(scale[k * channels + i % channels]);
    }
    const int64_t tiles_of = std::max<int64_t>(1, 128 / period) * period; // vectors a tile, a whole number of periods
    const int64_t tiles = (vectors + tiles_of - 1) / tiles_of;
    in_parts(tiles, parts_of(tiles, threads), [&](int64_t first, int64_t last, int64_t) {
        Buffer<T> sums(tiles_of);
        for (int64_t tile = first; tile < last; ++tile) {
            const int64_t start = tile * tiles_of, size = std::min(tiles_of, vectors - start);
            Vec<T> *sum = sums.get();
            T *to = static_cast<T *>(total) + start * lanes;
            for (int64_t i = 0; i < size; i += period)
                for (int64_t j = 0; j < std::min(period, size - i); ++j) sum[i + j] = adds ? shifts.get()[j] + load(to + (i + j) * lanes) : shifts.get()[j];
            for (int64_t k = 0; k < count; ++k) {
                const T *from = static_cast<const T *>(maps[k]) + start * lanes;
                const Vec<T> *by = scales.get() + k * period;
                for (int64_t i = 0; i < size; i += period)
                    for (int64_t j = 0; j < std::min(period, size - i); ++j) sum[i + j] += by[j] * load(from + (i + j) * lanes);
            }
            for (int64_t i = 0; i < size; ++i) store(to + i * lanes, sum[i]);
        }
    });
    for (int64_t i = vectors * lanes; i < all; ++i) {
        T sum = T(shift[i % channels]) + (adds ? static_cast<T *>(total)[i] : T(0));
        for (int64_t k = 0; k < count; ++k) sum += T(scale[k * channels + i % channels]) * static_cast<const T *>(maps[k])[i];
        static_cast<T *>(total)[i] = sum;
    }
}

// sums[c] = sum_p grad[p][c] * (map[p][c] - mean[c]). Without a mean that is zero, without a map the other factor is one.
template <class T>
void products(int64_t pixels, int64_t channels, const void *grad, const void *map, const double *mean, double *sums, int64_t threads) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t blocks = (channels + lanes - 1) / lanes, tile = std::max<int64_t>(16, 4096 / channels), tiles = (pixels + tile - 1) / tile;
    const int64_t parts = parts_of(tiles, threads), padded = blocks * lanes;
    std::vector<double> partial(size_t(parts * padded), 0.0);
    Buffer<T> centres(blocks);
    for (int64_t c = 0; c < channels && mean; ++c) centres.scalars()[c] = T(mean[c]);
    in_parts(tiles, parts, [&](int64_t first, int64_t last, int64_t part) {
        for (int64_t t = first; t < last; ++t) {
            const int64_t start = t * tile, size = std::min(tile, pixels - start);
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t some = std::min<int64_t>(lanes, channels - block * lanes), at = start * channels + block * lanes;
                const T *g = static_cast<const T *>(grad) + at, *x = map ? static_cast<const T *>(map) + at : nullptr;
                const Vec<T> centre = centres.get()[block];
                Vec<T> sum[4] = {};
                int64_t p = 0;
                if (some == lanes) {
                    for (; p + 4 <= size; p += 4)
#pragma GCC unroll 4
                        for (int i = 0; i < 4; ++i)
                            sum[i] += x ? load(g + (p + i) * channels) * (load(x + (p + i) * channels) - centre) : load(g + (p + i) * channels);
                }
                for (; p < size; ++p) {
                    const Vec<T> own = load_some(g + p * channels, some);
                    sum[0] += x ? own * (load_some(x + p * channels, some) - centre) : own;
                }
                const Vec<T> all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
                for (int lane = 0; lane < lanes; ++lane) partial[size_t(part * padded + block * lanes + lane)] += all[lane];
            }
        }
    });
    for (int64_t c = 0; c < channels; ++c) {
        sums[c] = 0.0;
        for (int64_t part = 0; part < parts; ++part) sums[c] += partial[size_t(part * padded + c)];
    }
}

} // namespace
