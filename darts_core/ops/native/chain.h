// An operation of a discrete network: blocks in a row, each BatchNorm with scale and shift of its own (gamma and beta).
#pragma once

#include "blocks.h"
#include "sums.h"

extern "C" {
struct BlockArguments {
    Geometry geometry;
    const void *depthwise, *pointwise; // weights (C, 1, K, K) and (C, C, 1, 1)
    void *running_mean, *running_var;
    int64_t *tracked;
    double eps, momentum;
    int64_t is_training;
    void *y;                               // ahead of the BatchNorm
    double *moments;                       // of y over the batch: C means, C reciprocal standard deviations
    void *grad_depthwise, *grad_pointwise; // or null
};
struct AffineArguments { // of a block's BatchNorm, (channels,) each
    const void *gamma, *beta;
    void *grad_gamma, *grad_beta; // or null
};
struct ChainArguments {
    int64_t blocks;
    BlockArguments *block;
    const AffineArguments *affine;
    const void *x;
    void *out; // after the last BatchNorm
    const void *grad;
    void *grad_x; // or null
};
}

namespace {

template <class T> struct Chain {
    const ChainArguments &a;
    const int64_t channels;
    std::vector<double> gammas, betas; // (blocks, channels)

    explicit Chain(const ChainArguments &arguments) : a(arguments), channels(a.block[0].geometry.channels) {
        for (int64_t k = 0; k < a.blocks; ++k)
            for (int64_t c = 0; c < channels; ++c) {
                gammas.push_back(static_cast<const T *>(a.affine[k].gamma)[c]);
                betas.push_back(static_cast<const T *>(a.affine[k].beta)[c]);
            }
    }

    // The BatchNorm after a block.
    Norm norm(int64_t k) const {
        if (k < 0) return Norm{};
        const double *moments = a.block[k].moments;
        return Norm{moments, moments + channels, gammas.data() + k * channels, betas.data() + k * channels};
    }
    const void *read_by(int64_t k) const { return k ? a.block[k - 1].y : a.x; }
    static int64_t pixels_in(const Geometry &g) { return g.batch * g.height * g.width; }
    static int64_t pixels_out(const Geometry &g) { return g.batch * g.out_height * g.out_width; }

    bool forward() const {
        for (int64_t k = 0; k < a.blocks; ++k) {
            const BlockArguments &b = a.block[k];
            if (b.is_training && b.tracked) ++*b.tracked;
            if (dispatch<T, RunForward>(b.geometry, Forward{norm(k - 1), read_by(k), b.depthwise, b.pointwise, b.y, b.moments, b.moments + channels,
                                                            b.running_mean, b.running_var, b.eps, b.momentum, b.is_training != 0}))
                return false;
        }
        const BlockArguments &last = a.block[a.blocks - 1];
        const Norm after = norm(a.blocks - 1);
        std::vector<double> scale, shift;
        for (int64_t c = 0; c < channels; ++c) scale.push_back(after.scale(c)), shift.push_back(after.shift(c));
        const void *y = last.y;
        weighted_sum<T>(pixels_out(last.geometry), channels, 1, &y, scale.data(), shift.data(), a.out, false, last.geometry.threads);
        return true;
    }

    bool backward() const {
        const BlockArguments &last = a.block[a.blocks - 1];
        std::vector<double> sum(static_cast<size_t>(channels)), product(sum);
        products<T>(pixels_out(last.geometry), channels, a.grad, {{nullptr, nullptr, sum.data()}, {last.y, last.moments, product.data()}}, last.geometry.threads);
        Buffer<T> between(a.blocks > 1 ? pixels_out(a.block[0].geometry) * channels / Vector<T>::lanes + 1 : 0, false);
        Buffer<T> unwanted(a.grad_x ? 0 : pixels_in(a.block[0].geometry) * channels / Vector<T>::lanes + 1, false);
        const void *along = a.grad;
        for (int64_t k = a.blocks - 1; k >= 0; --k) {
            const BlockArguments &b = a.block[k];
            const std::vector<double> own_sum(sum), own_product(product);
            give(a.affine[k].grad_beta, own_sum.data(), nullptr), give(a.affine[k].grad_gamma, own_product.data(), b.moments + channels);
            // A map between two blocks is written over the gradient that it comes from: no row is needed after that.
            void *const to = k ? between.get() : a.grad_x ? a.grad_x : unwanted.get();
            if (dispatch<T, RunBackward>(b.geometry, Backward{norm(k - 1), read_by(k), b.depthwise, b.pointwise, b.y, along, 1.0, norm(k), own_sum.data(),
                                                              own_product.data(), to, false, k ? sum.data() : nullptr, k ? product.data() : nullptr,
                                                              b.grad_depthwise, b.grad_pointwise}))
                return false;
            along = to;
        }
        if (a.grad_x) rectify_gradient();
        return true;
    }

    void give(void *to, const double *values, const double *by) const {
        for (int64_t c = 0; c < channels && to; ++c) static_cast<T *>(to)[c] = T(by ? values[c] * by[c] : values[c]);
    }

    // The gradient of the rectified input is that of the input where this is positive, and zero elsewhere.
    void rectify_gradient() const {
        const Geometry &g = a.block[0].geometry;
        const T *x = static_cast<const T *>(a.x);
        T *grad = static_cast<T *>(a.grad_x);
        in_parts(g.batch, parts_of(g.batch, g.threads), [&](int64_t first, int64_t last, int64_t) {
            const int64_t size = g.height * g.width * channels;
            for (int64_t i = first * size; i < last * size; ++i) grad[i] = x[i] > T(0) ? grad[i] : T(0);
        });
    }
};

} // namespace
