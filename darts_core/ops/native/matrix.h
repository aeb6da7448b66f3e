// Products of matrices as convolutions of one pixel need them, and the gradients of their weights.
#pragma once

#include "vectors.h"

namespace {

// out[m][n] = sum_k a[k][m] b[k][n] for M pixels and N vectors of channels. `a` is [block][pixel][lane]; pixel m of the result starts
// at out + at[m], its vectors of channels are `jump` scalars apart. `moments`, if not null: two vectors for each of out, to which its
// sum over the pixels and that of its squares are added.
template <class T, int M, int N>
INLINE void multiply_block(const T *a, int64_t a_stride, int64_t depth, const Vec<T> *b, int64_t b_stride, T *out, const int64_t *at, int64_t jump,
                           int64_t tail, Vec<T> *moments) {
    constexpr int lanes = Vector<T>::lanes;
    Vec<T> sum[M][N] = {};
    for (int64_t block = 0, k = 0; k < depth; ++block) {
        const T *from = a + block * a_stride;
        const int64_t end = std::min<int64_t>(depth, k + lanes);
        for (; k < end; ++k, ++from) {
            Vec<T> right[N];
#pragma GCC unroll 2
            for (int n = 0; n < N; ++n) right[n] = b[k * b_stride + n];
#pragma GCC unroll 6
            for (int m = 0; m < M; ++m) {
                const Vec<T> left = filled(from[m * lanes]);
#pragma GCC unroll 2
                for (int n = 0; n < N; ++n) sum[m][n] += left * right[n];
            }
        }
    }
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) {
            T *to = out + at[m] + n * jump;
            if (n + 1 < N)
                store(to, sum[m][n]);
            else
                store_some(to, sum[m][n], tail);
        }
    }
    if (!moments) return;
#pragma GCC unroll 2
    for (int n = 0; n < N; ++n) {
        Vec<T> ones = moments[2 * n], twos = moments[2 * n + 1];
#pragma GCC unroll 6
        for (int m = 0; m < M; ++m) ones += sum[m][n], twos += sum[m][n] * sum[m][n];
        moments[2 * n] = ones, moments[2 * n + 1] = twos;
    }
}

template <class T, int N>
APART void multiply_columns(const T *a, int64_t a_stride, int64_t depth, const Vec<T> *b, int64_t b_stride, T *out, const int64_t *at, int64_t jump,
                      int64_t tail, int64_t pixels, Vec<T> *moments) {
    constexpr int lanes = Vector<T>::lanes;
    int64_t m = 0;
    for (; m + 6 <= pixels; m += 6) multiply_block<T, 6, N>(a + m * lanes, a_stride, depth, b, b_stride, out, at + m, jump, tail, moments);
    for (; m + 4 <= pixels; m += 4) multiply_block<T, 4, N>(a + m * lanes, a_stride, depth, b, b_stride, out, at + m, jump, tail, moments);
    for (; m < pixels; ++m) multiply_block<T, 1, N>(a + m * lanes, a_stride, depth, b, b_stride, out, at + m, jump, tail, moments);
}

template <class T>
void multiply(const Vec<T> *a, int64_t a_stride, int64_t depth, int64_t channels, const Vec<T> *b, T *out, const int64_t *at, int64_t jump, int64_t pixels,
              bool whole, Vec<T> *moments) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t blocks = (channels + lanes - 1) / lanes;
    const T *left = reinterpret_cast<const T *>(a);
    for (int64_t n = 0; n < blocks; n += 2) {
        const int64_t pair = std::min<int64_t>(2, blocks - n), tail = whole ? lanes : std::min<int64_t>(lanes, channels - (n + pair - 1) * lanes);
        if (pair == 2)
            multiply_columns<T, 2>(left, a_stride * lanes, depth, b + n, blocks, out + n * jump, at, jump, tail, pixels, moments ? moments + 2 * n : nullptr);
        else
            multiply_columns<T, 1>(left, a_stride * lanes, depth, b + n, blocks, out + n * jump, at, jump, tail, pixels, moments ? moments + 2 * n : nullptr);
    }
}

// sums[k][n] += sum_m a[m][k] b[m][n]: the gradient of the pointwise weights. Both operands are [block][pixel][lane]. `a`: where each of M
// channels begins. Six by two sums keep both multipliers busy while each waits for its last addition.
template <class T, int M, int N>
INLINE void outer_block(const T *const *a, const Vec<T> *b, int64_t b_stride, int64_t pixels, Vec<T> *sums, int64_t sums_stride) {
    constexpr int lanes = Vector<T>::lanes;
    Vec<T> sum[M][N];
    const T *left[M];
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m) {
        left[m] = a[m];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) sum[m][n] = sums[m * sums_stride + n];
    }
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        Vec<T> right[N];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) right[n] = b[n * b_stride + pixel];
#pragma GCC unroll 6
        for (int m = 0; m < M; ++m) {
            const Vec<T> value = filled(left[m][pixel * lanes]);
#pragma GCC unroll 2
            for (int n = 0; n < N; ++n) sum[m][n] += value * right[n];
        }
    }
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) sums[m * sums_stride + n] = sum[m][n];
}

template <class T, int M>
APART void outer_rows(const T *const *a, const Vec<T> *b, int64_t stride, int64_t blocks, int64_t pixels, Vec<T> *sums) {
    int64_t n = 0;
    for (; n + 2 <= blocks; n += 2) outer_block<T, M, 2>(a, b + n * stride, stride, pixels, sums + n, blocks);
    if (n < blocks) outer_block<T, M, 1>(a, b + n * stride, stride, pixels, sums + n, blocks);
}

template <class T> void outer(const Vec<T> *a, const Vec<T> *b, int64_t stride, int64_t depth, int64_t channels, int64_t pixels, Vec<T> *sums) {
    constexpr int lanes = Vector<T>::lanes;
    const int64_t blocks = (channels + lanes - 1) / lanes;
    for (int64_t k = 0; k < depth;) {
        const int64_t rest = depth - k, some = rest >= 6 && rest != 8 ? 6 : rest >= 4 ? 4 : 1;
        const T *left[6];
        for (int64_t m = 0; m < some; ++m) left[m] = reinterpret_cast<const T *>(a + (k + m) / lanes * stride) + (k + m) % lanes;
        if (some == 6)
            outer_rows<T, 6>(left, b, stride, blocks, pixels, sums + k * blocks);
        else if (some == 4)
            outer_rows<T, 4>(left, b, stride, blocks, pixels, sums + k * blocks);
        else
            outer_rows<T, 1>(left, b, stride, blocks, pixels, sums + k * blocks);
        k += some;
    }
}

} // namespace
