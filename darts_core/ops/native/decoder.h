// A linear layer of many classes and its cross entropy, a block of rows at a time: loss and gradients of a block are made while its logits are
// in the cache, and no more logits are kept than those.
#pragma once

#include "exponential.h"
#include "products.h"

extern "C" {
struct DecoderArguments {
    int64_t rows, width, classes, threads;
    const void *x;      // (rows, width)
    const void *weight; // (classes, width)
    const void *bias;   // (classes,)
    const int64_t *targets;
    double *loss;      // (rows,)
    int64_t *is_found; // (rows,): whether no class comes before the target; of equal ones the lower does
    void *grad_x;      // (rows, width), or null; gradients are those of the mean loss
    void *grad_weight; // (classes, width), or null
    void *grad_bias;   // (classes,), or null
};
}

namespace {

constexpr int64_t ROWS_OF_LOGITS = 192; // at once

template <class T> class Decoder {
  public:
    explicit Decoder(const DecoderArguments &arguments)
        : a(arguments), D(a.width), K(a.classes), row_((K + wide - 1) / wide * wide), has_gradient_(a.grad_x || a.grad_weight || a.grad_bias),
          block_(ROWS_OF_LOGITS * row_ / lanes, false), bias_(row_ / lanes), sums_(a.grad_bias ? parts_of(a.threads, a.threads) * row_ / lanes : 0) {
        for (int64_t row = 0; row < ROWS_OF_LOGITS; ++row) std::fill(block_.scalars() + row * row_ + K, block_.scalars() + (row + 1) * row_, T(0));
        std::memcpy(bias_.scalars(), a.bias, size_t(K) * sizeof(T));
        std::fill(bias_.scalars() + K, bias_.scalars() + row_, std::numeric_limits<T>::lowest()); // which no class is chosen for
    }

    bool knows_targets() const {
        return std::all_of(a.targets, a.targets + a.rows, [&](int64_t target) { return target >= 0 && target < K; });
    }

    void run() {
        const T *weight = static_cast<const T *>(a.weight), *x = static_cast<const T *>(a.x);
        Buffer<T> ahead(panels_of(D, K), false), behind(a.grad_x ? panels_of(K, D) : 0, false), inputs(a.grad_weight ? panels_of(ROWS_OF_LOGITS, D) : 0, false);
        const Packed<T> forward(D, K, ahead.scalars()), back(K, D, behind.scalars());
        forward.fill(weight, 1, D);
        if (a.grad_x) back.fill(weight, D, 1);
        T *logits = block_.scalars();
        for (int64_t top = 0; top < a.rows; top += ROWS_OF_LOGITS) {
            const int64_t own = std::min(ROWS_OF_LOGITS, a.rows - top);
            multiply<T>({x + top * D, D, 1}, own, forward, logits, row_, false, a.threads);
            entropy(top, own);
            if (a.grad_x) multiply<T>({logits, row_, 1}, own, back, static_cast<T *>(a.grad_x) + top * D, D, false, a.threads);
            if (!a.grad_weight) continue;
            const Packed<T> seen(own, D, inputs.scalars());
            seen.fill(x + top * D, D, 1);
            multiply<T>({logits, 1, row_}, K, seen, static_cast<T *>(a.grad_weight), D, top > 0, a.threads);
        }
        if (a.grad_bias) add_up();
    }

  private:
    using V = Vec<T>;
    static constexpr int64_t lanes = Vector<T>::lanes, wide = 2 * lanes;
    const DecoderArguments &a;
    const int64_t D, K, row_; // row_: of logits, whole vectors
    const bool has_gradient_;
    Buffer<T> block_, bias_, sums_; // sums_: of the logits' gradients, a row for each thread

    static int64_t panels_of(int64_t depth, int64_t columns) { return Packed<T>(depth, columns, nullptr).size() / lanes; }

    // Makes the loss of rows of products, and puts the gradients of their logits in their place.
    void entropy(int64_t top, int64_t rows) {
        const int64_t parts = std::min(parts_of(rows, a.threads), rows * K / ELEMENTS_A_THREAD + 1);
        in_parts(rows, parts, [&](int64_t first, int64_t last, int64_t part) {
            for (int64_t row = first; row < last; ++row) entropy_of(top + row, block_.scalars() + row * row_, a.grad_bias ? sums_.scalars() + part * row_ : nullptr);
        });
    }
    void entropy_of(int64_t row, T *x, T *sums) {
        const T most = add_bias(x);
        const int64_t target = a.targets[row];
        const T own = x[target];
        bool is_found = own == most && std::find(x, x + target, own) == x + target;
        const V top = filled(most);
        V sum[2] = {};
        for (int64_t k = 0; k < row_; k += wide)
            for (int64_t n = 0; n < 2; ++n) {
                const V e = exponential<T>(limited<T>(load(x + k + n * lanes) - top, Exponential<T>::largest));
                sum[n] += e;
                store(x + k + n * lanes, e);
            }
        double total = 0.0;
        for (int64_t lane = 0; lane < lanes; ++lane) total += double(sum[0][lane]) + double(sum[1][lane]);
        a.loss[row] = double(most) - double(own) + std::log(total);
        a.is_found[row] = is_found && total == total;
        if (!has_gradient_) return;
        const T share = T(1.0 / (total * double(a.rows)));
        for (int64_t k = 0; k < row_; k += lanes) store(x + k, load(x + k) * filled(share));
        x[target] -= T(1.0 / double(a.rows));
        for (int64_t k = 0; sums && k < row_; k += lanes) store(sums + k, load(sums + k) + load(x + k));
    }

    // Returns the largest.
    T add_bias(T *x) {
        const T *bias = bias_.scalars();
        V high[2] = {filled(std::numeric_limits<T>::lowest()), filled(std::numeric_limits<T>::lowest())};
        for (int64_t k = 0; k < row_; k += wide)
            for (int64_t n = 0; n < 2; ++n) {
                const V v = load(x + k + n * lanes) + load(bias + k + n * lanes);
                high[n] = v > high[n] ? v : high[n];
                store(x + k + n * lanes, v);
            }
        T most = high[0][0];
        for (int64_t lane = 0; lane < lanes; ++lane) most = std::max({most, high[0][lane], high[1][lane]});
        return most;
    }

    void add_up() {
        T *to = static_cast<T *>(a.grad_bias);
        std::memcpy(to, sums_.scalars(), size_t(K) * sizeof(T));
        for (int64_t part = 1; part < parts_of(a.threads, a.threads); ++part)
            for (int64_t k = 0; k < K; ++k) to[k] += sums_.scalars()[part * row_ + k];
    }
};

template <class T> int decode(const DecoderArguments &a) {
    Decoder<T> decoder(a);
    if (!decoder.knows_targets()) return NO_CLASS;
    decoder.run();
    return DONE;
}

} // namespace
