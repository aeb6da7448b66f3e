// Vectors of whatever width this processor has, buffers that are aligned to them, and threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__AVX512F__)
#include <immintrin.h>
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#define INLINE inline __attribute__((always_inline))
// Loops over a tile stay functions of their own: inside a larger one the compiler runs out of registers for them.
#define APART __attribute__((noinline))

namespace {

constexpr int PIXELS_A_TILE = 96; // a tile's maps of 64 channels are 24 KiB each
constexpr int64_t CACHED_BYTES = 8 << 20; // of maps that the last cache is trusted to hold
constexpr int SLACK = 32;         // vectors behind a buffer that a block of pixels may touch

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(VECTOR_BYTES)));
    typedef T loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
    static constexpr int lanes = VECTOR_BYTES / sizeof(T);
};
template <class T> using Vec = typename Vector<T>::type;

template <class T> INLINE Vec<T> load(const T *from) { return *reinterpret_cast<const typename Vector<T>::loose *>(from); }
template <class T> INLINE void store(T *to, Vec<T> value) { *reinterpret_cast<typename Vector<T>::loose *>(to) = value; }
#if defined(__AVX512F__)
INLINE Vec<float> load_masked(const float *from, int64_t count) { return (Vec<float>)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), from); }
INLINE Vec<double> load_masked(const double *from, int64_t count) { return (Vec<double>)_mm512_maskz_loadu_pd(__mmask8((1u << count) - 1), from); }
INLINE void store_masked(float *to, Vec<float> value, int64_t count) { _mm512_mask_storeu_ps(to, __mmask16((1u << count) - 1), (__m512)value); }
INLINE void store_masked(double *to, Vec<double> value, int64_t count) { _mm512_mask_storeu_pd(to, __mmask8((1u << count) - 1), (__m512d)value); }
#else
template <class T> INLINE Vec<T> load_masked(const T *from, int64_t count) {
    Vec<T> value = {};
    std::memcpy(&value, from, size_t(count) * sizeof(T));
    return value;
}
template <class T> INLINE void store_masked(T *to, Vec<T> value, int64_t count) { std::memcpy(to, &value, size_t(count) * sizeof(T)); }
#endif
template <class T> INLINE Vec<T> load_some(const T *from, int64_t count) { return count >= Vector<T>::lanes ? load(from) : load_masked(from, count); }
template <class T> INLINE void store_some(T *to, Vec<T> value, int64_t count) {
    if (count >= Vector<T>::lanes) store(to, value);
    else store_masked(to, value, count);
}
template <class T> INLINE Vec<T> filled(T value) { return value - Vec<T>{}; } // not "+", which would change -0.0 and so cost an addition

// Calls body(d, count) for vectors of columns first..last-1 of a row; `count` of a whole vector is known when this is compiled.
template <class T> using All = std::integral_constant<int64_t, Vector<T>::lanes>;
template <class T, class Body> INLINE void along(int64_t first, int64_t last, const Body &body) {
    int64_t d = first;
    for (; d + All<T>::value <= last; d += All<T>::value) body(d, All<T>{});
    if (d < last) body(d, last - d);
}

template <class T> class Buffer { // aligned, and zeroed if need be
  public:
    explicit Buffer(int64_t vectors, bool zeroes = true) {
        const size_t bytes = size_t(vectors + SLACK) * VECTOR_BYTES;
        data_ = static_cast<Vec<T> *>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
        if (!data_) throw std::bad_alloc();
        if (zeroes) std::memset(static_cast<void *>(data_), 0, bytes);
    }
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    Vec<T> *get() { return data_; }
    T *scalars() { return reinterpret_cast<T *>(data_); }

  private:
    Vec<T> *data_;
};

// Runs a function of one argument in so many threads at once, this one among them: GOMP_parallel. Where torch's own can be had its threads do
// the work: they wait for some by spinning, and would take the core from threads of our own.
using Runner = void (*)(void (*)(void *), void *, unsigned, unsigned);
Runner runner = nullptr;

struct Parts {
    const std::function<void(int64_t)> &work;
    int64_t count;
    std::atomic<int64_t> next{0};
    static void take(void *self) {
        Parts &parts = *static_cast<Parts *>(self);
        for (int64_t part; (part = parts.next++) < parts.count;) parts.work(part);
    }
};

// Calls work(first, last, part) for `parts` contiguous parts of 0..count-1 in as many threads, this one among them. What one of them throws
// is thrown when all have ended.
inline void in_parts(int64_t count, int64_t parts, const std::function<void(int64_t, int64_t, int64_t)> &work) {
    std::vector<std::exception_ptr> errors(static_cast<size_t>(parts));
    const std::function<void(int64_t)> guarded = [&](int64_t part) {
        try {
            work(count * part / parts, count * (part + 1) / parts, part);
        } catch (...) {
            errors[size_t(part)] = std::current_exception();
        }
    };
    if (parts > 1 && runner) {
        Parts all{guarded, parts};
        runner(Parts::take, &all, unsigned(parts), 0);
        for (const auto &error : errors)
            if (error) std::rethrow_exception(error);
        return;
    }
    std::vector<std::thread> others;
    int64_t started = 1;
    try {
        for (; started < parts; ++started) others.emplace_back(guarded, started);
    } catch (const std::system_error &) { // no more threads to be had: this one does the rest
    }
    guarded(0);
    for (int64_t part = started; part < parts; ++part) guarded(part);
    for (auto &other : others) other.join();
    for (const auto &error : errors)
        if (error) std::rethrow_exception(error);
}
inline int64_t parts_of(int64_t count, int64_t threads) { return std::max<int64_t>(1, std::min(count, threads)); }

} // namespace
