// A block: ReLU, a depthwise convolution, a pointwise one, and the batch's statistics, in one pass over images that stay in the cache; and
// its exact derivatives, which compute the depthwise map again instead of reading it.
//
// Images are NHWC ("channels last"), of any size and any number of channels. Inside, an image is cut into blocks of as many channels as a
// vector register holds, each block row by row, with the zeros of the padding in place: no loop below looks at a border.
// Sums over the batch are taken in T over at most one image, and from there on in double.
#pragma once

#include "matrix.h"

extern "C" struct Geometry {
    int64_t batch, channels, height, width; // of the input
    int64_t kernel, stride, padding, dilation;
    int64_t out_height, out_width;
    int64_t threads;
};

namespace {

struct Norm { // a BatchNorm over the batch: gamma * (y - mean) * rstd + beta, by channel; without gamma and beta these are 1 and 0
    const double *mean = nullptr, *rstd = nullptr, *gamma = nullptr, *beta = nullptr;
    explicit operator bool() const { return mean != nullptr; }
    double scale(int64_t c) const { return gamma ? gamma[c] * rstd[c] : rstd[c]; }
    double shift(int64_t c) const { return (beta ? beta[c] : 0.0) - mean[c] * scale(c); }
};

template <class T> struct Layer { // a block's geometry, and its weights in the order in which they are read
    static constexpr int lanes = Vector<T>::lanes;
    Geometry g;
    int64_t blocks;                  // of channels
    int64_t step;                    // pixels of the input that are read: every `step`-th
    int64_t height, width;           // of what is read
    int64_t rows, columns;           // of the padded image
    int64_t out_pixels, rim;         // rim: zeros around the gradient of the depthwise map
    int64_t grad_rows, grad_columns; // of that gradient with its rim
    Buffer<T> taps, flipped;         // [block][tap][lane]
    Buffer<T> in_to_out, out_to_in;  // [channel in][channel out] and back, rows of whole vectors
    Buffer<T> scale, shift;          // of the input, before ReLU

    static Geometry dense(Geometry g, int64_t step) {
        if (step > 1) { // stride == dilation, padding a multiple of it: all taps fall on the grid of every step-th pixel
            g.height = (g.height + step - 1) / step, g.width = (g.width + step - 1) / step;
            g.padding /= step, g.stride = 1, g.dilation = 1;
        }
        return g;
    }
    Layer(const Geometry &given, const T *depthwise, const T *pointwise, const Norm &before)
        : g(dense(given, step_of(given))), blocks((g.channels + lanes - 1) / lanes), step(step_of(given)), height(g.height), width(g.width),
          rows(height + 2 * g.padding), columns(width + 2 * g.padding), out_pixels(g.out_height * g.out_width),
          rim(g.stride == 1 ? g.dilation * (g.kernel - 1) - g.padding : 0), grad_rows(g.out_height + 2 * rim),
          grad_columns((g.out_width + 7) / 8 * 8 + 2 * rim), taps(blocks * g.kernel * g.kernel), flipped(blocks * g.kernel * g.kernel),
          in_to_out(g.channels * blocks), out_to_in(g.channels * blocks), scale(blocks), shift(blocks) {
        const int64_t count = g.kernel * g.kernel, channels = g.channels, padded = blocks * lanes;
        for (int64_t c = 0; c < channels; ++c) {
            for (int64_t tap = 0; tap < count; ++tap) {
                taps.scalars()[(c / lanes * count + tap) * lanes + c % lanes] = depthwise[c * count + tap];
                flipped.scalars()[(c / lanes * count + count - 1 - tap) * lanes + c % lanes] = depthwise[c * count + tap];
            }
            for (int64_t out = 0; out < channels; ++out) {
                in_to_out.scalars()[c * padded + out] = pointwise[out * channels + c];
                out_to_in.scalars()[c * padded + out] = pointwise[c * channels + out];
            }
            scale.scalars()[c] = T(before ? before.scale(c) : 1.0), shift.scalars()[c] = T(before ? before.shift(c) : 0.0);
        }
    }
    static int64_t step_of(const Geometry &g) { return g.stride > 1 && g.stride == g.dilation && g.padding % g.stride == 0 ? g.stride : 1; }
    // Rows of the image that the first `end` rows of the result read.
    int64_t rows_before(int64_t end) const {
        return end == g.out_height ? height : std::clamp<int64_t>((end - 1) * g.stride + (g.kernel - 1) * g.dilation + 1 - g.padding, 0, height);
    }
    // Rows of the image whose gradient the first `end` rows of the result settle, for a stride of one.
    int64_t rows_settled(int64_t end) const { return end == g.out_height ? height : std::clamp<int64_t>(end - g.dilation * (g.kernel - 1) + rim, 0, height); }
    int64_t channels_of(int64_t block) const { return std::min<int64_t>(lanes, g.channels - block * lanes); }
    int64_t rows_a_tile() const { return std::min(g.out_height, std::max<int64_t>(1, PIXELS_A_TILE / g.out_width)); }
};

// Some rows of the image after scale, shift and ReLU, in blocks of channels, inside their padding.
template <class T>
APART void rectify(Layer<T> &layer, const T *image, int64_t full_width, bool shifts, int64_t first, int64_t last, Vec<T> *padded) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t channels = layer.g.channels, padding = layer.g.padding, jump = layer.step * channels;
    const Vec<T> zero = {};
    for (int64_t block = 0; block < layer.blocks; ++block) {
        const Vec<T> scale = layer.scale.get()[block], shift = layer.shift.get()[block];
        const int64_t count = layer.channels_of(block);
        for (int64_t row = first; row < last; ++row) {
            const T *from = image + row * layer.step * full_width * channels + block * lanes;
            Vec<T> *to = padded + (block * layer.rows + row + padding) * layer.columns + padding;
            for (int64_t column = 0; column < layer.width; ++column) {
                Vec<T> value = load_some(from + column * jump, count);
                if (shifts) value = value * scale + shift;
                to[column] = value < zero ? zero : value; // not "value > zero ? value : zero", which would hide a NaN
            }
        }
    }
}

// One row of a depthwise convolution, P pixels at a time: each pixel of the input is loaded once for all taps of a row of the kernel.
template <class T, int K, int S, int D, int P> INLINE void convolve_pixels(const Vec<T> *in, int64_t columns, const Vec<T> *taps, Vec<T> *out) {
    Vec<T> sum[P] = {};
#pragma GCC unroll 8
    for (int row = 0; row < K; ++row) {
        Vec<T> tap[K];
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) tap[k] = taps[row * K + k];
        const Vec<T> *from = in + row * D * columns;
#pragma GCC unroll 32
        for (int i = 0; i <= (P - 1) * S + (K - 1) * D; ++i) {
            const Vec<T> x = from[i];
#pragma GCC unroll 8
            for (int k = 0; k < K; ++k) {
                const int rest = i - k * D;
                if (rest >= 0 && rest % S == 0 && rest / S < P) sum[rest / S] += x * tap[k];
            }
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) out[p] = sum[p];
}

template <class T, int K, int S, int D>
INLINE void convolve_row(const Vec<T> *in, int64_t columns, const Vec<T> *taps, Vec<T> *out, int64_t width) {
    constexpr int wide = K > 5 ? 6 : 8;
    int64_t x = 0;
    for (; x + wide <= width; x += wide) convolve_pixels<T, K, S, D, wide>(in + x * S, columns, taps, out + x);
    for (; x + 4 <= width; x += 4) convolve_pixels<T, K, S, D, 4>(in + x * S, columns, taps, out + x);
    for (; x + 2 <= width; x += 2) convolve_pixels<T, K, S, D, 2>(in + x * S, columns, taps, out + x);
    for (; x < width; ++x) convolve_pixels<T, K, S, D, 1>(in + x * S, columns, taps, out + x);
}

// The depthwise map of some rows: [block][pixel][lane].
template <class T, int K, int S, int D>
APART void depthwise(Layer<T> &layer, const Vec<T> *padded, int64_t first, int64_t last, Vec<T> *out, int64_t out_stride) {
    for (int64_t block = 0; block < layer.blocks; ++block)
        for (int64_t row = first; row < last; ++row)
            convolve_row<T, K, S, D>(padded + (block * layer.rows + row * S) * layer.columns, layer.columns, layer.taps.get() + block * K * K,
                                     out + block * out_stride + (row - first) * layer.g.out_width, layer.g.out_width);
}

// sums[tap] += sum over some rows of image * gradient, for R rows of the kernel from `row` on.
template <class T, int K, int S, int D, int R>
INLINE void tap_rows(const Layer<T> &layer, const Vec<T> *padded, const Vec<T> *grad, int row, int64_t first, int64_t last, Vec<T> *sums) {
    constexpr int P = 4;
    Vec<T> sum[R][K];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) sum[r][k] = sums[(row + r) * K + k];
    for (int64_t y = first; y < last; ++y) {
        const Vec<T> *g = grad + (y + layer.rim) * layer.grad_columns + layer.rim, *in = padded + (y * S + row * D) * layer.columns;
        for (int64_t x = 0; x < layer.g.out_width; x += P) { // the gradient is zero behind the last pixel
            Vec<T> own[P];
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) own[p] = g[x + p];
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                const Vec<T> *from = in + r * D * layer.columns + x * S;
#pragma GCC unroll 32
                for (int i = 0; i <= (P - 1) * S + (K - 1) * D; ++i) {
                    const Vec<T> value = from[i];
#pragma GCC unroll 8
                    for (int k = 0; k < K; ++k) {
                        const int rest = i - k * D;
                        if (rest >= 0 && rest % S == 0 && rest / S < P) sum[r][k] += value * own[rest / S];
                    }
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int k = 0; k < K; ++k) sums[(row + r) * K + k] = sum[r][k];
}

template <class T, int K, int S, int D>
APART void tap_gradients(const Layer<T> &layer, const Vec<T> *padded, const Vec<T> *grad, int64_t first, int64_t last, Vec<T> *sums) {
    constexpr int R = K == 3 ? 3 : K == 5 ? 2 : 1;
    for (int64_t block = 0; block < layer.blocks; ++block) {
        const Vec<T> *image = padded + block * layer.rows * layer.columns, *g = grad + block * layer.grad_rows * layer.grad_columns;
        int row = 0;
        for (; row + R <= K; row += R) tap_rows<T, K, S, D, R>(layer, image, g, row, first, last, sums + block * K * K);
        for (; row < K; ++row) tap_rows<T, K, S, D, 1>(layer, image, g, row, first, last, sums + block * K * K);
    }
}

// The gradient of the rectified image, inside its padding, for a strided convolution.
template <class T, int K, int S, int D> APART void scatter(Layer<T> &layer, const Vec<T> *grad, Vec<T> *padded_grad) {
    std::memset(static_cast<void *>(padded_grad), 0, size_t(layer.blocks * layer.rows * layer.columns) * sizeof(Vec<T>));
    for (int64_t block = 0; block < layer.blocks; ++block) {
        const Vec<T> *taps = layer.taps.get() + block * K * K;
        for (int64_t y = 0; y < layer.g.out_height; ++y)
            for (int row = 0; row < K; ++row) {
                const Vec<T> *g = grad + (block * layer.grad_rows + y) * layer.grad_columns;
                Vec<T> *to = padded_grad + (block * layer.rows + y * S + row * D) * layer.columns;
                for (int k = 0; k < K; ++k) {
                    const Vec<T> tap = taps[row * K + k];
                    for (int64_t x = 0; x < layer.g.out_width; ++x) to[x * S + k * D] += g[x] * tap;
                }
            }
    }
}

// The gradient of some rows of one block of channels of the rectified image, for a stride of one: [row][column].
template <class T, int K, int D>
APART void gather(const Layer<T> &layer, const Vec<T> *inner, const Vec<T> *taps, int64_t first, int64_t last, Vec<T> *out) {
    for (int64_t row = first; row < last; ++row)
        convolve_row<T, K, 1, D>(inner + row * layer.grad_columns, layer.grad_columns, taps, out + (row - first) * layer.width, layer.width);
}

// Add it to where the pixels that were read came from.
template <class T>
APART void give(const Layer<T> &layer, const Vec<T> *from, int64_t from_stride, int64_t rows, T *to, int64_t row_stride, int64_t count, bool adds) {
    const int64_t jump = layer.step * layer.g.channels;
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < layer.width; ++column) {
            T *pixel = to + row * row_stride + column * jump;
            const Vec<T> value = from[row * from_stride + column];
            store_some(pixel, adds ? load_some(pixel, count) + value : value, count);
        }
}

// Write it where the rectified image is positive, zero elsewhere, and sum it, and its product with the image less its mean.
template <class T>
APART void give_masked(const Layer<T> &layer, Vec<T> centre, const Vec<T> *from, int64_t from_stride, int64_t rows, const Vec<T> *rectified, const T *x, T *to,
                 int64_t row_stride, int64_t count, double *sum, double *product) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t jump = layer.step * layer.g.channels;
    const Vec<T> zero = {};
    for (int64_t row = 0; row < rows; ++row) {
        Vec<T> ones = {}, twos = {};
        for (int64_t column = 0; column < layer.width; ++column) {
            const int64_t at = row * row_stride + column * jump;
            const Vec<T> value = rectified[row * layer.columns + column] > zero ? from[row * from_stride + column] : zero;
            store_some(to + at, value, count);
            ones += value, twos += value * (load_some(x + at, count) - centre);
        }
        for (int lane = 0; lane < lanes; ++lane) sum[lane] += ones[lane], product[lane] += twos[lane];
    }
}

// The gradient ahead of the BatchNorm of some pixels, [block][pixel][lane]: of_grad * grad + of_y * y + constant.
template <class T>
APART void through_norm(const Layer<T> &layer, const T *grad, const T *y, int64_t pixels, const Vec<T> *of_grad, const Vec<T> *of_y, const Vec<T> *constant,
                        Vec<T> *out, int64_t out_stride) {
    const int64_t channels = layer.g.channels;
    for (int64_t block = 0; block < layer.blocks; ++block) {
        const Vec<T> u = of_grad[block], v = of_y[block], w = constant[block];
        const int64_t count = layer.channels_of(block), start = block * Layer<T>::lanes;
        Vec<T> *to = out + block * out_stride;
        for (int64_t m = 0; m < pixels; ++m)
            to[m] = u * load_some(grad + m * channels + start, count) + (v * load_some(y + m * channels + start, count) + w);
    }
}

struct Forward {
    Norm before; // the block's ReLU, if any
    const void *x, *depthwise, *pointwise;
    void *y;
    double *mean, *rstd; // of y; in evaluation mode from the buffers below, which only training moves
    void *running_mean, *running_var;
    double eps, momentum;
    bool is_training;
};

template <class T, int K, int S, int D> void forward(const Geometry &geometry, const Forward &f) {
    Layer<T> layer(geometry, static_cast<const T *>(f.depthwise), static_cast<const T *>(f.pointwise), f.before);
    constexpr int lanes = Vector<T>::lanes;
    const Geometry &g = layer.g;
    const int64_t channels = g.channels, parts = parts_of(g.batch, g.threads), in_size = geometry.height * geometry.width * channels;
    const int64_t tile_rows = layer.rows_a_tile(), tile = tile_rows * g.out_width, padded_channels = layer.blocks * lanes;
    std::vector<int64_t> at(static_cast<size_t>(tile));
    for (int64_t m = 0; m < tile; ++m) at[size_t(m)] = m * channels;
    std::vector<double> sums(static_cast<size_t>(parts * 2 * padded_channels), 0.0);
    in_parts(g.batch, parts, [&](int64_t first, int64_t last, int64_t part) {
        Buffer<T> padded(layer.blocks * layer.rows * layer.columns), map(layer.blocks * tile, false), moments(layer.blocks * 2);
        double *sum = sums.data() + part * 2 * padded_channels, *square = sum + padded_channels;
        for (int64_t image = first; image < last; ++image) {
            int64_t ready = 0; // rows of the image; made when they are needed, while the cache still holds them
            for (int64_t row = 0; row < g.out_height; row += tile_rows) {
                const int64_t end = std::min(row + tile_rows, g.out_height), pixels = (end - row) * g.out_width;
                const int64_t needed = layer.rows_before(end);
                rectify(layer, static_cast<const T *>(f.x) + image * in_size, geometry.width, bool(f.before), ready, needed, padded.get());
                ready = needed;
                depthwise<T, K, S, D>(layer, padded.get(), row, end, map.get(), tile);
                T *y = static_cast<T *>(f.y) + (image * layer.out_pixels + row * g.out_width) * channels;
                multiply(map.get(), tile, channels, channels, layer.in_to_out.get(), y, at.data(), lanes, pixels, false, f.is_training ? moments.get() : nullptr);
                if (!f.is_training) continue;
                for (int64_t block = 0; block < layer.blocks; ++block) { // out of T before it grows long
                    Vec<T> *own = moments.get() + 2 * block;
                    for (int lane = 0; lane < lanes; ++lane) sum[block * lanes + lane] += own[0][lane], square[block * lanes + lane] += own[1][lane];
                    own[0] = own[1] = Vec<T>{};
                }
            }
        }
    });
    const double count = double(g.batch * layer.out_pixels);
    T *running_mean = static_cast<T *>(f.running_mean), *running_var = static_cast<T *>(f.running_var);
    for (int64_t c = 0; c < channels; ++c) {
        if (!f.is_training) {
            f.mean[c] = running_mean[c], f.rstd[c] = 1.0 / std::sqrt(double(running_var[c]) + f.eps);
            continue;
        }
        double sum = 0.0, square = 0.0;
        for (int64_t part = 0; part < parts; ++part)
            sum += sums[size_t(part * 2 * padded_channels + c)], square += sums[size_t((part * 2 + 1) * padded_channels + c)];
        const double mean = sum / count, rest = square / count - mean * mean, variance = rest < 0.0 ? 0.0 : rest;
        f.mean[c] = mean, f.rstd[c] = 1.0 / std::sqrt(variance + f.eps);
        if (!running_mean) continue;
        running_mean[c] = T((1.0 - f.momentum) * double(running_mean[c]) + f.momentum * mean);
        running_var[c] = T((1.0 - f.momentum) * double(running_var[c]) + f.momentum * variance * (count / (count - 1.0)));
    }
}

struct Backward {
    Norm before;
    const void *x, *depthwise, *pointwise, *y, *grad; // grad: dL/dz, z = weight * own(y) + whatever others add
    double weight;
    Norm own;
    const double *grad_sum, *grad_product; // over the batch, of grad and of grad * (y - mean)
    void *grad_x;                          // of the rectified image; if `sum` is not null, of the image after its BatchNorm
    bool adds;                             // to what grad_x holds; only without `sum`
    double *sum, *product;                 // over the batch, of grad_x and of grad_x * (x - the mean before), or null
    void *grad_depthwise, *grad_pointwise; // or null
};

template <class T, int K, int S, int D> void backward(const Geometry &geometry, const Backward &b) {
    Layer<T> layer(geometry, static_cast<const T *>(b.depthwise), static_cast<const T *>(b.pointwise), b.before);
    constexpr int lanes = Vector<T>::lanes;
    const Geometry &g = layer.g;
    const int64_t channels = g.channels, parts = parts_of(g.batch, g.threads), in_size = geometry.height * geometry.width * channels;
    const int64_t tile_rows = layer.rows_a_tile(), tile = tile_rows * g.out_width, padded_channels = layer.blocks * lanes;
    const int64_t plane = layer.grad_rows * layer.grad_columns, taps = K * K;
    Buffer<T> of_grad(layer.blocks), of_y(layer.blocks), constant(layer.blocks), centres(layer.blocks);
    for (int64_t c = 0; c < channels && b.before; ++c) centres.scalars()[c] = T(b.before.mean[c]);
    for (int64_t c = 0; c < channels; ++c) { // dL/dy = of_grad * grad + of_y * y + constant
        const double count = double(g.batch * layer.out_pixels), scale = b.weight * b.own.scale(c);
        const double along = b.own.rstd[c] * b.grad_product[c] * b.own.rstd[c] / count;
        of_grad.scalars()[c] = T(scale), of_y.scalars()[c] = T(-scale * along);
        constant.scalars()[c] = T(scale * (b.own.mean[c] * along - b.grad_sum[c] / count));
    }
    std::vector<int64_t> at(static_cast<size_t>(tile)); // of a tile's pixels in the gradient's plane
    for (int64_t m = 0; m < tile; ++m) at[size_t(m)] = (m / g.out_width * layer.grad_columns + m % g.out_width) * lanes;
    const size_t share = size_t(2 * padded_channels + channels * taps + channels * padded_channels);
    std::vector<double> sums(size_t(parts) * share, 0.0);
    in_parts(g.batch, parts, [&](int64_t first, int64_t last, int64_t part) {
        Buffer<T> padded(layer.blocks * layer.rows * layer.columns), map(layer.blocks * tile, false), own(layer.blocks * tile, false);
        Buffer<T> inner(layer.blocks * plane), back(S == 1 ? (layer.height + 1) * layer.width : layer.blocks * layer.rows * layer.columns, false);
        Buffer<T> of_taps(layer.blocks * taps), of_pointwise(padded_channels * layer.blocks);
        double *sum = sums.data() + size_t(part) * share, *product = sum + padded_channels, *of_depthwise = product + padded_channels,
               *into_pointwise = of_depthwise + channels * taps;
        const bool needs_image = b.grad_depthwise || b.sum;
        for (int64_t image = first; image < last; ++image) {
            const T *x = static_cast<const T *>(b.x) + image * in_size;
            T *grad_x = static_cast<T *>(b.grad_x) + image * in_size;
            if (!b.adds && layer.step > 1) std::memset(static_cast<void *>(grad_x), 0, size_t(in_size) * sizeof(T));
            int64_t ready = 0, settled = 0; // rows of the image; every map is used while the cache still holds it
            for (int64_t row = 0; row < g.out_height; row += tile_rows) {
                const int64_t end = std::min(row + tile_rows, g.out_height), pixels = (end - row) * g.out_width;
                const int64_t offset = (image * layer.out_pixels + row * g.out_width) * channels;
                const T *y = static_cast<const T *>(b.y) + offset, *grad = static_cast<const T *>(b.grad) + offset;
                through_norm(layer, grad, y, pixels, of_grad.get(), of_y.get(), constant.get(), own.get(), tile);
                T *into = inner.scalars() + ((row + layer.rim) * layer.grad_columns + layer.rim) * lanes;
                multiply(own.get(), tile, channels, channels, layer.out_to_in.get(), into, at.data(), plane * lanes, pixels, true, nullptr);
                if (needs_image) {
                    const int64_t needed = layer.rows_before(end);
                    rectify(layer, x, geometry.width, bool(b.before), ready, needed, padded.get());
                    ready = needed;
                }
                if (b.grad_depthwise) {
                    tap_gradients<T, K, S, D>(layer, padded.get(), inner.get(), row, end, of_taps.get());
                    depthwise<T, K, S, D>(layer, padded.get(), row, end, map.get(), tile);
                    outer<T>(map.get(), own.get(), tile, channels, channels, pixels, of_pointwise.get());
                }
                const bool is_last = end == g.out_height;
                if (S > 1 && !is_last) continue;
                if (S > 1) scatter<T, K, S, D>(layer, inner.get(), back.get());
                const int64_t until = S > 1 ? layer.height : layer.rows_settled(end), count_rows = until - settled;
                for (int64_t block = 0; block < layer.blocks && count_rows > 0; ++block) {
                    const Vec<T> *rows = back.get();
                    if (S == 1)
                        gather<T, K, D>(layer, inner.get() + block * plane, layer.flipped.get() + block * taps, settled, until, back.get());
                    else
                        rows += (block * layer.rows + g.padding) * layer.columns + g.padding;
                    const int64_t rows_stride = S == 1 ? layer.width : layer.columns, row_stride = layer.step * geometry.width * channels;
                    const int64_t place = settled * row_stride + block * lanes, count = layer.channels_of(block);
                    if (b.sum)
                        give_masked(layer, centres.get()[block], rows, rows_stride, count_rows,
                                    padded.get() + (block * layer.rows + settled + g.padding) * layer.columns + g.padding, x + place, grad_x + place,
                                    row_stride, count, sum + block * lanes, product + block * lanes);
                    else
                        give(layer, rows, rows_stride, count_rows, grad_x + place, row_stride, count, b.adds);
                }
                settled = until;
            }
            if (b.grad_depthwise) { // out of T before they grow long
                for (int64_t c = 0; c < channels; ++c)
                    for (int64_t tap = 0; tap < taps; ++tap) of_depthwise[c * taps + tap] += of_taps.scalars()[(c / lanes * taps + tap) * lanes + c % lanes];
                for (int64_t i = 0; i < channels * padded_channels; ++i) into_pointwise[i] += of_pointwise.scalars()[i];
                std::memset(static_cast<void *>(of_taps.get()), 0, size_t(layer.blocks * taps) * sizeof(Vec<T>));
                std::memset(static_cast<void *>(of_pointwise.get()), 0, size_t(padded_channels * layer.blocks) * sizeof(Vec<T>));
            }
        }
    });
    double *all = sums.data();
    for (int64_t part = 1; part < parts; ++part)
        for (size_t i = 0; i < share; ++i) all[i] += all[size_t(part) * share + i];
    const double *of_depthwise = all + 2 * padded_channels, *of_pointwise = of_depthwise + channels * taps;
    if (b.sum) std::copy(all, all + channels, b.sum), std::copy(all + padded_channels, all + padded_channels + channels, b.product);
    if (!b.grad_depthwise) return;
    for (int64_t i = 0; i < channels * taps; ++i) static_cast<T *>(b.grad_depthwise)[i] = T(of_depthwise[i]);
    for (int64_t out = 0; out < channels; ++out)
        for (int64_t in = 0; in < channels; ++in) static_cast<T *>(b.grad_pointwise)[out * channels + in] = T(of_pointwise[in * padded_channels + out]);
}

template <class T, template <class, int, int, int> class Which, class Task> int dispatch(const Geometry &g, const Task &task) {
    const bool is_dense = Layer<T>::step_of(g) > 1;
    const int64_t s = is_dense ? 1 : g.stride, d = is_dense ? 1 : g.dilation;
#define CASE(K, S, D) \
    if (g.kernel == K && s == S && d == D) return Which<T, K, S, D>::run(g, task), 0;
    CASE(3, 1, 1) CASE(3, 1, 2) CASE(3, 2, 1) CASE(5, 1, 1) CASE(5, 1, 2) CASE(5, 2, 1) CASE(7, 1, 1) CASE(7, 2, 1)
#undef CASE
    return 1;
}
template <class T, int K, int S, int D> struct RunForward {
    static void run(const Geometry &g, const Forward &f) { forward<T, K, S, D>(g, f); }
};
template <class T, int K, int S, int D> struct RunBackward {
    static void run(const Geometry &g, const Backward &b) { backward<T, K, S, D>(g, b); }
};

} // namespace
