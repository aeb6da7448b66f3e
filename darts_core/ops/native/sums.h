// Weighted sums of maps, and the sums over the batch that their derivatives need.
#pragma once

#include "vectors.h"

namespace {

// Of M maps at once, which are read side by side: sum += by * map, the scales `by` repeating after `period` vectors.
template <class T, int M> APART void add_maps(const void *const *maps, int64_t start, const Vec<T> *by, int64_t period, int64_t size, Vec<T> *sum) {
    constexpr int lanes = Vector<T>::lanes;
    const T *from[M];
    for (int m = 0; m < M; ++m) from[m] = static_cast<const T *>(maps[m]) + start;
    for (int64_t i = 0; i < size; i += period)
        for (int64_t j = 0; j < std::min(period, size - i); ++j) {
            Vec<T> own = sum[i + j];
#pragma GCC unroll 4
            for (int m = 0; m < M; ++m) own += by[m * period + j] * load(from[m] + (i + j) * lanes);
            sum[i + j] = own;
        }
}

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
            for (int64_t k = 0; k < count;) {
                const Vec<T> *by = scales.get() + k * period;
                const int64_t rest = count - k;
                if (rest >= 4) add_maps<T, 4>(maps + k, start * lanes, by, period, size, sum), k += 4;
                else if (rest >= 2) add_maps<T, 2>(maps + k, start * lanes, by, period, size, sum), k += 2;
                else add_maps<T, 1>(maps + k, start * lanes, by, period, size, sum), k += 1;
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

// Of one block of channels, `some` of them, over `size` pixels: the sum of g * (x - centre), or of g without x.
template <class T> APART Vec<T> product_of(const T *g, const T *x, Vec<T> centre, int64_t channels, int64_t some, int64_t size) {
    Vec<T> sum[4] = {};
    int64_t p = 0;
    if (some == Vector<T>::lanes) {
        for (; p + 4 <= size; p += 4)
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) sum[i] += x ? load(g + (p + i) * channels) * (load(x + (p + i) * channels) - centre) : load(g + (p + i) * channels);
    }
    for (; p < size; ++p) {
        const Vec<T> own = load_some(g + p * channels, some);
        sum[0] += x ? own * (load_some(x + p * channels, some) - centre) : own;
    }
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

struct Product {
    const void *map;    // or null: the other factor is one
    const double *mean; // of the map, (channels,), or null: zero
    double *sums;       // (channels,)
};

// sums[c] = sum_p grad[p][c] * (map[p][c] - mean[c]), for several maps while the cache holds a part of the gradient.
template <class T> void products(int64_t pixels, int64_t channels, const void *grad, const std::vector<Product> &of, int64_t threads) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t blocks = (channels + lanes - 1) / lanes, tile = std::max<int64_t>(16, 4096 / channels), tiles = (pixels + tile - 1) / tile;
    const int64_t parts = parts_of(tiles, threads), padded = blocks * lanes, count = int64_t(of.size());
    std::vector<double> partial(size_t(parts * count * padded), 0.0);
    Buffer<T> centres(count * blocks);
    for (int64_t k = 0; k < count; ++k)
        for (int64_t c = 0; c < channels && of[size_t(k)].mean; ++c) centres.scalars()[k * padded + c] = T(of[size_t(k)].mean[c]);
    in_parts(tiles, parts, [&](int64_t first, int64_t last, int64_t part) {
        for (int64_t t = first; t < last; ++t) {
            const int64_t start = t * tile, size = std::min(tile, pixels - start);
            for (int64_t k = 0; k < count; ++k) {
                const T *map = static_cast<const T *>(of[size_t(k)].map);
                double *sums = partial.data() + (part * count + k) * padded;
                for (int64_t block = 0; block < blocks; ++block) {
                    const int64_t at = start * channels + block * lanes;
                    const Vec<T> all = product_of<T>(static_cast<const T *>(grad) + at, map ? map + at : nullptr, centres.get()[k * blocks + block], channels,
                                                     std::min<int64_t>(lanes, channels - block * lanes), size);
                    for (int lane = 0; lane < lanes; ++lane) sums[block * lanes + lane] += all[lane];
                }
            }
        }
    });
    for (int64_t k = 0; k < count; ++k)
        for (int64_t c = 0; c < channels; ++c) {
            double sum = 0.0;
            for (int64_t part = 0; part < parts; ++part) sum += partial[size_t((part * count + k) * padded + c)];
            of[size_t(k)].sums[c] = sum;
        }
}

} // namespace
