// Products of matrices whose right factor is packed once for many. Six rows by two vectors are summed up in registers, the depth in parts
// of which a panel of the right factor, two vectors wide, stays in the first cache.
#pragma once

#include "vectors.h"

namespace {

enum Outcome { DONE, NO_KERNEL, NO_MEMORY, FAILED, NO_CLASS };

constexpr int64_t ELEMENTS_A_THREAD = 1 << 14; // fewer are not worth one
constexpr int64_t PART = 320;         // of the depth, at most
constexpr int64_t ROWS_A_BLOCK = 192; // of the left factor, which stay in the second cache
constexpr int64_t PRODUCTS_A_THREAD = 1 << 22; // fewer are not worth one

template <class T> struct Left { // element (m, k) lies at data + m * row + k * step
    const T *data;
    int64_t row, step;
};

// The right factor, (depth, columns), in memory for `size` numbers: part by part, of each part panel by panel, of each panel row by row.
template <class T> class Packed {
  public:
    static constexpr int64_t wide = 2 * Vector<T>::lanes;
    const int64_t depth, columns, panels, parts;

    Packed(int64_t depth, int64_t columns, T *data)
        : depth(depth), columns(columns), panels((columns + wide - 1) / wide), parts((depth + PART - 1) / PART), data_(data) {}
    int64_t size() const { return depth * panels * wide; }
    int64_t start(int64_t part) const { return depth * part / parts; }
    T *panel(int64_t part, int64_t n) const { return data_ + (start(part) * panels + n * (start(part + 1) - start(part))) * wide; }

    // Element (k, n) lies at from + k * row + n * step.
    void fill(const T *from, int64_t row, int64_t step) const { fill(from, row, step, 0, panels); }
    void fill(const T *from, int64_t row, int64_t step, int64_t first, int64_t last) const {
        for (int64_t part = 0; part < parts; ++part)
            for (int64_t n = first; n < last; ++n) {
                const int64_t count = std::min(wide, columns - n * wide), length = start(part + 1) - start(part);
                T *to = panel(part, n);
                const T *source = from + start(part) * row + n * wide * step;
                if (count < wide) std::fill(to, to + length * wide, T(0));
                if (step == 1)
                    for (int64_t k = 0; k < length; ++k) copy_some(source + k * row, count, to + k * wide);
                else
                    for (int64_t c = 0; c < count; ++c)
                        for (int64_t k = 0; k < length; ++k) to[k * wide + c] = source[k * row + c * step];
            }
    }

  private:
    static void copy_some(const T *from, int64_t count, T *to) {
        if (count == wide) std::memcpy(to, from, wide * sizeof(T));
        else std::memcpy(to, from, size_t(count) * sizeof(T));
    }
    T *data_;
};

template <class T, int M, int N> INLINE void tile(Left<T> a, const T *b, int64_t depth, T *out, int64_t out_row, int64_t tail, bool adds) {
    constexpr int lanes = Vector<T>::lanes;
    Vec<T> sum[M][N] = {};
    const T *from = a.data;
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m) // by the time that the sums are made, their place is in the cache
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) __builtin_prefetch(out + m * out_row + n * lanes, 1);
    for (int64_t k = 0; k < depth; ++k, from += a.step, b += 2 * lanes) {
        Vec<T> right[N];
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) right[n] = load(b + n * lanes);
#pragma GCC unroll 6
        for (int m = 0; m < M; ++m) {
            const Vec<T> left = filled(from[m * a.row]);
#pragma GCC unroll 2
            for (int n = 0; n < N; ++n) sum[m][n] += left * right[n];
        }
    }
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
        for (int n = 0; n < N; ++n) {
            T *to = out + m * out_row + n * lanes;
            const int64_t count = n + 1 < N ? lanes : tail;
            if (adds) sum[m][n] += load_some(to, count);
            store_some(to, sum[m][n], count);
        }
}

template <class T, int M> APART void tile_of_rows(Left<T> a, const T *b, int64_t depth, T *out, int64_t out_row, int64_t columns, bool adds) {
    constexpr int lanes = Vector<T>::lanes;
    if (columns > lanes) tile<T, M, 2>(a, b, depth, out, out_row, std::min<int64_t>(columns - lanes, lanes), adds);
    else tile<T, M, 1>(a, b, depth, out, out_row, columns, adds);
}

template <class T> INLINE void tiles(int64_t rows, Left<T> a, const T *b, int64_t depth, T *out, int64_t out_row, int64_t columns, bool adds) {
    switch (rows) {
    case 1: return tile_of_rows<T, 1>(a, b, depth, out, out_row, columns, adds);
    case 2: return tile_of_rows<T, 2>(a, b, depth, out, out_row, columns, adds);
    case 3: return tile_of_rows<T, 3>(a, b, depth, out, out_row, columns, adds);
    case 4: return tile_of_rows<T, 4>(a, b, depth, out, out_row, columns, adds);
    case 5: return tile_of_rows<T, 5>(a, b, depth, out, out_row, columns, adds);
    default: return tile_of_rows<T, 6>(a, b, depth, out, out_row, columns, adds);
    }
}

// Six rows side by side, one such block after the other.
template <class T> void lay_side_by_side(Left<T> a, int64_t rows, int64_t depth, T *to) {
    for (int64_t d = 0; d < depth; ++d) {
        const T *from = a.data + d * a.step;
        T *block = to + d * 6;
        int64_t m = 0;
        if (a.row == 1)
            for (; m + 6 <= rows; m += 6, block += 6 * depth) std::memcpy(block, from + m, 6 * sizeof(T));
        for (; m < rows; m += 6, block += 6 * depth)
            for (int64_t r = 0; r < std::min<int64_t>(6, rows - m); ++r) block[r] = from[(m + r) * a.row];
    }
}

// Panels first..last-1 of out, whose rows lie `out_row` apart: a times b, added to what is there if `adds`.
template <class T>
void multiply_panels(Left<T> a, int64_t rows, const Packed<T> &b, T *out, int64_t out_row, bool adds, int64_t first, int64_t last) {
    const bool packs = a.step != 1; // then six rows are laid side by side
    Buffer<T> block(packs ? ROWS_A_BLOCK * PART / Vector<T>::lanes + 1 : 0, false);
    for (int64_t top = 0; top < rows; top += ROWS_A_BLOCK) { // whose part of out stays in the second cache, too
        const int64_t own = std::min(ROWS_A_BLOCK, rows - top);
        for (int64_t part = 0; part < b.parts; ++part) {
            const int64_t k = b.start(part), depth = b.start(part + 1) - k;
            const T *from = a.data + top * a.row + k * a.step;
            if (packs) lay_side_by_side<T>({from, a.row, a.step}, own, depth, block.scalars());
            for (int64_t n = first; n < last; ++n)
                for (int64_t m = 0; m < own; m += 6) {
                    const Left<T> left = packs ? Left<T>{block.scalars() + m * depth, 1, 6} : Left<T>{from + m * a.row, a.row, 1};
                    T *to = out + (top + m) * out_row + n * Packed<T>::wide;
                    tiles<T>(own - m, left, b.panel(part, n), depth, to, out_row, std::min(Packed<T>::wide, b.columns - n * Packed<T>::wide), adds || part);
                }
        }
    }
}

inline int64_t parts_of_product(int64_t rows, int64_t depth, int64_t columns, int64_t panels, int64_t threads) {
    return std::min(parts_of(panels, threads), rows * depth * columns / PRODUCTS_A_THREAD + 1);
}

template <class T> void multiply(Left<T> a, int64_t rows, const Packed<T> &b, T *out, int64_t out_row, bool adds, int64_t threads) {
    const int64_t parts = parts_of_product(rows, b.depth, b.columns, b.panels, threads);
    in_parts(b.panels, parts, [&](int64_t first, int64_t last, int64_t) { multiply_panels(a, rows, b, out, out_row, adds, first, last); });
}

// Adds a times the rows of `right` to out; `b` is the room for them, packed.
template <class T> void add_product(Left<T> a, int64_t rows, const T *right, const Packed<T> &b, T *out, int64_t threads) {
    const int64_t parts = parts_of_product(rows, b.depth, b.columns, b.panels, threads);
    in_parts(b.panels, parts, [&](int64_t first, int64_t last, int64_t) {
        b.fill(right, b.columns, 1, first, last);
        multiply_panels(a, rows, b, out, b.columns, true, first, last);
    });
}

} // namespace
