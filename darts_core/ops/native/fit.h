// What fits a map to a cell: convolutions of one pixel, of all pixels or each of a grid of every second one, side by side in the output,
// and one BatchNorm over them all. Only the normalised output is kept; its derivatives need no more.
#pragma once

#include "matrix.h"
#include "sums.h"

extern "C" {
struct Projection {
    const void *weight; // (channels, channels_in)
    void *grad_weight;  // or null
    int64_t channels, start; // of the output; first pixel that is read, down and across
};
struct FitArguments {
    int64_t batch, channels_in, height, width; // of the input
    int64_t channels, step, out_height, out_width;
    int64_t threads, is_training, rectifies, projections;
    const Projection *projection;
    const void *x;
    void *y; // after the BatchNorm
    void *running_mean, *running_var;
    int64_t *tracked;
    double eps, momentum;
    double *rstd; // of y over the batch, (channels,)
    const void *grad;
    void *grad_x; // or null
};
}

namespace {

template <class T> struct Fit {
    static constexpr int lanes = Vector<T>::lanes;
    const FitArguments &a;
    const int64_t channels_in, in_blocks, pixels, tile; // pixels: of an image of the output; tile: how many at a time

    explicit Fit(const FitArguments &arguments)
        : a(arguments), channels_in(a.channels_in), in_blocks(blocks_of(channels_in)), pixels(a.out_height * a.out_width),
          tile(std::clamp<int64_t>(PIXELS_A_TILE * 64 / channels_in / 12 * 12, 12, PIXELS_A_TILE)) {}

    static int64_t blocks_of(int64_t channels) { return (channels + lanes - 1) / lanes; }
    const T *input(int64_t image) const { return static_cast<const T *>(a.x) + image * a.height * a.width * channels_in; }

    // Where the pixel that each pixel of the output reads lies in an image; -1 beyond its edge, where there are zeros.
    std::vector<int64_t> sources(const Projection &p) const {
        std::vector<int64_t> from;
        for (int64_t row = p.start; row < p.start + a.out_height * a.step; row += a.step)
            for (int64_t column = p.start; column < p.start + a.out_width * a.step; column += a.step)
                from.push_back(row < a.height && column < a.width ? (row * a.width + column) * channels_in : -1);
        return from;
    }

    APART void gather(const T *image, const int64_t *from, int64_t count, Vec<T> *to) const {
        const Vec<T> zero = {};
        for (int64_t block = 0; block < in_blocks; ++block) {
            const int64_t some = std::min<int64_t>(lanes, channels_in - block * lanes);
            for (int64_t m = 0; m < count; ++m) {
                const Vec<T> value = from[m] < 0 ? zero : load_some(image + from[m] + block * lanes, some);
                to[block * tile + m] = a.rectifies && from[m] >= 0 ? (value < zero ? zero : value) : value;
            }
        }
    }

    // Work on each projection: work(projection, its first channel of the output).
    template <class Work> void each(const Work &work) const {
        for (int64_t i = 0, first = 0; i < a.projections; first += a.projection[i++].channels) work(i, a.projection[i], first);
    }

    static std::vector<int64_t> spaced(int64_t count, int64_t by) {
        std::vector<int64_t> at;
        for (int64_t m = 0; m < count; ++m) at.push_back(m * by);
        return at;
    }

    bool forward() const {
        const int64_t channels = a.channels, parts = parts_of(a.batch, a.threads);
        std::vector<double> sums(size_t(parts * 2 * channels), 0.0);
        const std::vector<int64_t> at = spaced(tile, channels);
        each([&](int64_t, const Projection &p, int64_t first_channel) {
            const int64_t blocks = blocks_of(p.channels), padded = blocks * lanes;
            const std::vector<int64_t> from = sources(p);
            Buffer<T> weight(channels_in * blocks);
            for (int64_t out = 0; out < p.channels; ++out)
                for (int64_t in = 0; in < channels_in; ++in) weight.scalars()[in * padded + out] = static_cast<const T *>(p.weight)[out * channels_in + in];
            in_parts(a.batch, parts, [&](int64_t first, int64_t last, int64_t part) {
                Buffer<T> map(in_blocks * tile, false), moments(blocks * 2);
                double *sum = sums.data() + part * 2 * channels + first_channel, *square = sum + channels;
                for (int64_t image = first; image < last; ++image)
                    for (int64_t start = 0; start < pixels; start += tile) {
                        const int64_t count = std::min(tile, pixels - start);
                        gather(input(image), from.data() + start, count, map.get());
                        T *y = static_cast<T *>(a.y) + (image * pixels + start) * channels + first_channel;
                        multiply(map.get(), tile, channels_in, p.channels, weight.get(), y, at.data(), lanes, count, false, moments.get());
                        for (int64_t c = 0; c < p.channels; ++c) { // out of T before they grow long
                            sum[c] += moments.get()[c / lanes * 2][c % lanes], square[c] += moments.get()[c / lanes * 2 + 1][c % lanes];
                        }
                        std::memset(static_cast<void *>(moments.get()), 0, size_t(blocks * 2) * sizeof(Vec<T>));
                    }
            });
        });
        normalise(sums, parts);
        return true;
    }

    void normalise(const std::vector<double> &sums, int64_t parts) const {
        const int64_t channels = a.channels;
        const double count = double(a.batch * pixels);
        T *running_mean = static_cast<T *>(a.running_mean), *running_var = static_cast<T *>(a.running_var);
        std::vector<double> shift(static_cast<size_t>(channels));
        if (a.is_training && a.tracked) ++*a.tracked;
        for (int64_t c = 0; c < channels; ++c) {
            double mean = 0.0, square = 0.0;
            for (int64_t part = 0; part < parts; ++part) mean += sums[size_t(part * 2 * channels + c)], square += sums[size_t((part * 2 + 1) * channels + c)];
            mean /= count;
            double variance = std::max(square / count - mean * mean, 0.0);
            if (!a.is_training) {
                mean = running_mean[c], variance = running_var[c];
            } else if (running_mean) {
                running_mean[c] = T((1.0 - a.momentum) * double(running_mean[c]) + a.momentum * mean);
                running_var[c] = T((1.0 - a.momentum) * double(running_var[c]) + a.momentum * variance * (count / (count - 1.0)));
            }
            a.rstd[c] = 1.0 / std::sqrt(variance + a.eps);
            shift[size_t(c)] = -mean * a.rstd[c];
        }
        const void *y = a.y;
        weighted_sum<T>(a.batch * pixels, channels, 1, &y, a.rstd, shift.data(), a.y, false, a.threads);
    }

    bool backward() const {
        const int64_t channels = a.channels, all = a.batch * pixels;
        std::vector<double> grad_sum(static_cast<size_t>(channels)), product(static_cast<size_t>(channels));
        products<T>(all, channels, a.grad, {{nullptr, nullptr, grad_sum.data()}, {a.y, nullptr, product.data()}}, a.threads);
        if (a.grad_x && a.step > 1) std::memset(a.grad_x, 0, size_t(a.batch * a.height * a.width * channels_in) * sizeof(T));
        each([&](int64_t, const Projection &p, int64_t first_channel) {
            Buffer<T> of_grad(blocks_of(p.channels)), of_y(blocks_of(p.channels)), constant(blocks_of(p.channels));
            for (int64_t c = 0; c < p.channels; ++c) { // of the gradient ahead of the BatchNorm
                const size_t own = size_t(first_channel + c);
                of_grad.scalars()[c] = T(a.rstd[own]), of_y.scalars()[c] = T(-a.rstd[own] * product[own] / double(all));
                constant.scalars()[c] = T(-a.rstd[own] * grad_sum[own] / double(all));
            }
            backward(p, first_channel, of_grad.get(), of_y.get(), constant.get());
        });
        return true;
    }

    void backward(const Projection &p, int64_t first_channel, const Vec<T> *of_grad, const Vec<T> *of_y, const Vec<T> *constant) const {
        const int64_t blocks = blocks_of(p.channels), padded_in = in_blocks * lanes, padded = blocks * lanes, parts = parts_of(a.batch, a.threads);
        const std::vector<int64_t> from = sources(p), at = spaced(tile, padded_in);
        Buffer<T> weight(p.channels * in_blocks);
        for (int64_t out = 0; out < p.channels; ++out)
            for (int64_t in = 0; in < channels_in; ++in) weight.scalars()[out * padded_in + in] = static_cast<const T *>(p.weight)[out * channels_in + in];
        const size_t share = p.grad_weight ? size_t(padded_in * padded) : 0;
        std::vector<double> sums(size_t(parts) * share, 0.0);
        in_parts(a.batch, parts, [&](int64_t first, int64_t last, int64_t part) {
            Buffer<T> own(blocks * tile, false), map(in_blocks * tile, false), back(in_blocks * tile, false), of_weight(padded_in * blocks);
            for (int64_t image = first; image < last; ++image) {
                for (int64_t start = 0; start < pixels; start += tile) {
                    const int64_t count = std::min(tile, pixels - start), offset = (image * pixels + start) * a.channels + first_channel;
                    const T *grad = static_cast<const T *>(a.grad) + offset, *y = static_cast<const T *>(a.y) + offset;
                    for (int64_t block = 0; block < blocks; ++block) {
                        const int64_t some = std::min<int64_t>(lanes, p.channels - block * lanes);
                        for (int64_t m = 0; m < count; ++m) {
                            const int64_t pixel = m * a.channels + block * lanes;
                            own.get()[block * tile + m] = of_grad[block] * load_some(grad + pixel, some) + (of_y[block] * load_some(y + pixel, some) + constant[block]);
                        }
                    }
                    if (a.grad_x) {
                        multiply(own.get(), tile, p.channels, channels_in, weight.get(), back.scalars(), at.data(), lanes, count, true, static_cast<Vec<T> *>(nullptr));
                        place(image, from.data() + start, count, back.get());
                    }
                    if (!share) continue;
                    gather(input(image), from.data() + start, count, map.get());
                    outer<T>(map.get(), own.get(), tile, channels_in, p.channels, count, of_weight.get());
                }
                for (size_t i = 0; i < share; ++i) sums[size_t(part) * share + i] += of_weight.scalars()[i]; // out of T before they grow long
                std::memset(static_cast<void *>(of_weight.get()), 0, size_t(padded_in * blocks) * sizeof(Vec<T>));
            }
        });
        for (int64_t in = 0; in < channels_in && share; ++in)
            for (int64_t out = 0; out < p.channels; ++out) {
                double sum = 0.0;
                for (int64_t part = 0; part < parts; ++part) sum += sums[size_t(part) * share + size_t(in * padded + out)];
                static_cast<T *>(p.grad_weight)[out * channels_in + in] = T(sum);
            }
    }

    // The gradients of some pixels, [pixel][channel], go where the pixels came from.
    APART void place(int64_t image, const int64_t *from, int64_t count, const Vec<T> *back) const {
        const Vec<T> zero = {};
        const T *x = input(image);
        T *grad_x = static_cast<T *>(a.grad_x) + (x - input(0));
        for (int64_t m = 0; m < count; ++m) {
            if (from[m] < 0) continue;
            for (int64_t block = 0; block < in_blocks; ++block) {
                const int64_t some = std::min<int64_t>(lanes, channels_in - block * lanes), pixel = from[m] + block * lanes;
                const Vec<T> value = back[m * in_blocks + block];
                store_some(grad_x + pixel, a.rectifies ? (load_some(x + pixel, some) > zero ? value : zero) : value, some);
            }
        }
    }
};

} // namespace
