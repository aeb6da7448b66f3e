// 3x3 pools with a padding of one, of a whole batch, with the statistics of the BatchNorm that follows; and what a state of a cell gets
// back from everything that reads it, in one pass.
#pragma once

#include <limits>

#include "vectors.h"

namespace {

struct Pool {
    bool is_max;
    int64_t batch, channels, height, width, stride, out_height, out_width;
};

// One block of channels of an image, with a rim of one.
template <class T>
void pad(const T *image, int64_t height, int64_t width, int64_t channels, int64_t block, T rim, Vec<T> *padded) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t columns = width + 2, count = std::min<int64_t>(lanes, channels - block * lanes);
    const Vec<T> edge = filled(rim);
    for (int64_t column = 0; column < columns; ++column) padded[column] = padded[(height + 1) * columns + column] = edge;
    for (int64_t row = 0; row < height; ++row) {
        Vec<T> *to = padded + (row + 1) * columns;
        const T *from = image + row * width * channels + block * lanes;
        to[0] = to[width + 1] = edge;
        for (int64_t column = 0; column < width; ++column) to[column + 1] = load_some(from + column * channels, count);
    }
}

INLINE int64_t inside(int64_t centre, int64_t size) { return 1 + (centre > 0) + (centre + 1 < size); } // of three pixels around it

// The maximum of the window that begins at `from`. A NaN wins, as in torch.
template <class T> INLINE Vec<T> largest(const Vec<T> *from, int64_t columns) {
    Vec<T> best = from[0];
#pragma GCC unroll 3
    for (int row = 0; row < 3; ++row)
#pragma GCC unroll 3
        for (int column = 0; column < 3; ++column) {
            const Vec<T> value = from[row * columns + column];
            best = (value > best) | (value != value) ? value : best;
        }
    return best;
}

// raw: (batch, out_height, out_width, channels), ahead of the BatchNorm; sum and square: of raw over the batch, (channels,) each.
template <class T> void pool_forward(const Pool &pool, const T *x, T *raw, double *sum, double *square, int64_t threads) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t channels = pool.channels, blocks = (channels + lanes - 1) / lanes, columns = pool.width + 2, parts = parts_of(pool.batch, threads);
    std::vector<double> sums(size_t(parts * 2 * blocks * lanes), 0.0);
    in_parts(pool.batch, parts, [&](int64_t first, int64_t last, int64_t part) {
        Buffer<T> padded((pool.height + 2) * columns);
        double *own_sum = sums.data() + part * 2 * blocks * lanes, *own_square = own_sum + blocks * lanes;
        for (int64_t image = first; image < last; ++image)
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t count = std::min<int64_t>(lanes, channels - block * lanes);
                pad<T>(x + image * pool.height * pool.width * channels, pool.height, pool.width, channels, block,
                       pool.is_max ? -std::numeric_limits<T>::infinity() : T(0), padded.get());
                for (int64_t row = 0; row < pool.out_height; ++row) {
                    Vec<T> ones = {}, twos = {};
                    T *to = raw + (image * pool.out_height + row) * pool.out_width * channels + block * lanes;
                    const int64_t rows_inside = inside(row * pool.stride, pool.height);
                    for (int64_t column = 0; column < pool.out_width; ++column) {
                        const Vec<T> *from = padded.get() + row * pool.stride * columns + column * pool.stride;
                        Vec<T> value = {};
                        if (pool.is_max) {
                            value = largest<T>(from, columns);
                        } else {
                            for (int k = 0; k < 3; ++k) value += from[k * columns] + from[k * columns + 1] + from[k * columns + 2];
                            value *= filled(T(1) / T(rows_inside * inside(column * pool.stride, pool.width)));
                        }
                        store_some(to + column * channels, value, count);
                        ones += value, twos += value * value;
                    }
                    for (int lane = 0; lane < count; ++lane) own_sum[block * lanes + lane] += ones[lane], own_square[block * lanes + lane] += twos[lane];
                }
            }
    });
    for (int64_t c = 0; c < channels; ++c) {
        sum[c] = square[c] = 0.0;
        for (int64_t part = 0; part < parts; ++part)
            sum[c] += sums[size_t(part * 2 * blocks * lanes + c)], square[c] += sums[size_t((part * 2 + 1) * blocks * lanes + c)];
    }
}

template <class T> struct Reader { // a node whose gradient comes back with a weight
    double weight;
    const T *grad;
};

template <class T> struct PoolGradient { // d(raw) = sum of the readers * of_grad + raw * of_raw + constant, (channels,) each
    Pool pool;
    const T *raw;
    std::vector<Reader<T>> readers;
    const double *of_grad, *of_raw, *constant;
};

template <class T> struct StateGradient {
    int64_t batch, channels, height, width;
    const T *x;
    T *grad;                            // holds the gradient of the rectified state, and then that of the state
    bool has_rectified;                 // else what it holds counts for nothing
    const T *out_grad;                  // of the cell's output, from this state's first channel on, or null
    int64_t out_channels;               // of the whole output
    bool out_is_rectified;
    std::vector<Reader<T>> readers;     // that add the state as it is
    std::vector<PoolGradient<T>> pools; // of the state
};

// The gradient of the pool's input, added to one padded block of channels.
template <class T>
void pool_backward(const PoolGradient<T> &p, int64_t image, int64_t block, const Vec<T> *padded, Vec<T> *padded_grad) {
    constexpr int lanes = Vector<T>::lanes;
    const Pool &pool = p.pool;
    const int64_t channels = pool.channels, columns = pool.width + 2, count = std::min<int64_t>(lanes, channels - block * lanes);
    Vec<T> of_grad = {}, of_raw = {}, constant = {};
    for (int64_t lane = 0; lane < count; ++lane) {
        const int64_t c = block * lanes + lane;
        of_grad[lane] = T(p.of_grad[c]), of_raw[lane] = T(p.of_raw[c]), constant[lane] = T(p.constant[c]);
    }
    const Vec<T> zero = {};
    for (int64_t row = 0; row < pool.out_height; ++row) {
        const int64_t rows_inside = inside(row * pool.stride, pool.height);
        for (int64_t column = 0; column < pool.out_width; ++column) {
            const int64_t at = ((image * pool.out_height + row) * pool.out_width + column) * channels + block * lanes;
            const int64_t corner = row * pool.stride * columns + column * pool.stride;
            Vec<T> grad = {};
            for (const Reader<T> &reader : p.readers) grad += filled(T(reader.weight)) * load_some(reader.grad + at, count);
            grad = grad * of_grad + (load_some(p.raw + at, count) * of_raw + constant);
            Vec<T> *to = padded_grad + corner;
            if (!pool.is_max) {
                grad *= filled(T(1) / T(rows_inside * inside(column * pool.stride, pool.width)));
                for (int k = 0; k < 3; ++k) to[k * columns] += grad, to[k * columns + 1] += grad, to[k * columns + 2] += grad;
                continue;
            }
            const Vec<T> *from = padded + corner, best = largest<T>(from, columns);
            Vec<T> rest = grad; // the first pixel that is the largest, row by row, gets it, as in torch
            for (int k = 0; k < 3; ++k)
                for (int i = 0; i < 3; ++i) {
                    const auto is_it = from[k * columns + i] == best;
                    to[k * columns + i] += is_it ? rest : zero;
                    rest = is_it ? zero : rest;
                }
        }
    }
}

template <class T> void state_backward(const StateGradient<T> &s, int64_t threads) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t channels = s.channels, blocks = (channels + lanes - 1) / lanes, columns = s.width + 2;
    const Vec<T> zero = {};
    in_parts(s.batch, parts_of(s.batch, threads), [&](int64_t first, int64_t last, int64_t) {
        const int64_t size = s.pools.empty() ? 0 : (s.height + 2) * columns;
        Buffer<T> padded(size), padded_grad(size);
        for (int64_t image = first; image < last; ++image)
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t count = std::min<int64_t>(lanes, channels - block * lanes), start = image * s.height * s.width;
                if (!s.pools.empty()) {
                    pad<T>(s.x + start * channels, s.height, s.width, channels, block, -std::numeric_limits<T>::infinity(), padded.get());
                    std::memset(static_cast<void *>(padded_grad.get()), 0, size_t(size) * sizeof(Vec<T>));
                    for (const PoolGradient<T> &pool : s.pools) pool_backward<T>(pool, image, block, padded.get(), padded_grad.get());
                }
                for (int64_t row = 0; row < s.height; ++row)
                    for (int64_t column = 0; column < s.width; ++column) {
                        const int64_t pixel = start + row * s.width + column, at = pixel * channels + block * lanes;
                        const auto is_positive = load_some(s.x + at, count) > zero;
                        Vec<T> value = {};
                        if (s.has_rectified) value = is_positive ? load_some(s.grad + at, count) : zero;
                        if (s.out_grad) {
                            const Vec<T> out = load_some(s.out_grad + pixel * s.out_channels + block * lanes, count);
                            value += s.out_is_rectified ? (is_positive ? out : zero) : out;
                        }
                        for (const Reader<T> &reader : s.readers) value += filled(T(reader.weight)) * load_some(reader.grad + at, count);
                        if (size) value += padded_grad.get()[(row + 1) * columns + column + 1];
                        store_some(s.grad + at, value, count);
                    }
            }
    });
}

} // namespace
