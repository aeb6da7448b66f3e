// e^x in vectors, and what is made of it: the logistic function and the hyperbolic tangent. Not a number stays what it is.
#pragma once

#include "vectors.h"

namespace {

template <class T> struct Exponential;
template <> struct Exponential<float> {
    typedef int32_t bits __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int terms = 7, mantissa = 23;
    static constexpr float shift = 12582912.0f, largest = 87.0f; // shift: 1.5 * 2^mantissa, to which a number is added to round it
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr int32_t one = 0x3f800000;
};
template <> struct Exponential<double> {
    typedef int64_t bits __attribute__((vector_size(VECTOR_BYTES)));
    static constexpr int terms = 13, mantissa = 52;
    static constexpr double shift = 6755399441055744.0, largest = 708.0;
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
    static constexpr int64_t one = 0x3ff0000000000000;
};

template <class T> INLINE Vec<T> limited(Vec<T> x, T most) {
    const Vec<T> high = filled(most), low = filled(-most);
    x = x > high ? high : x;
    return x < low ? low : x;
}

// e^x = (part + 1) scale for |x| up to `largest`, which is for the caller to see to. Taylor's series of what is left of x after multiples of
// ln 2, without its first term: its error is below the rounding, and what is small keeps all its digits. scale is a power of two.
template <class T> INLINE void exponential_of(Vec<T> x, Vec<T> &part, Vec<T> &scale) {
    using E = Exponential<T>;
    const Vec<T> shifted = x * filled(T(1.44269504088896340736)) + filled(E::shift), whole = shifted - filled(E::shift);
    const Vec<T> rest = x - whole * filled(E::ln2_high) - whole * filled(E::ln2_low);
    T factorial = 1;
    T one_over[E::terms + 1];
#pragma GCC unroll 16
    for (int n = 0; n <= E::terms; ++n) one_over[n] = T(1) / factorial, factorial *= T(n + 1);
    Vec<T> series = filled(one_over[E::terms]);
#pragma GCC unroll 16
    for (int n = E::terms - 1; n >= 1; --n) series = series * rest + filled(one_over[n]);
    typename E::bits power; // of two, in the exponent's place
    std::memcpy(&power, &shifted, sizeof power);
    power = (power << E::mantissa) + E::one;
    std::memcpy(&scale, &power, sizeof scale);
    part = series * rest;
}
template <class T> INLINE Vec<T> exponential(Vec<T> x) {
    Vec<T> part, scale;
    exponential_of<T>(x, part, scale);
    return (part + filled(T(1))) * scale;
}

template <class T> INLINE Vec<T> sigmoid(Vec<T> x) {
    return filled(T(1)) / (filled(T(1)) + exponential<T>(-limited<T>(x, Exponential<T>::largest)));
}

// Both of one exponential e and one division. 1 - e^2 as (1 - e)(1 + e), and 1 - e of the exponential's parts: nothing cancels where x is small.
template <class T> INLINE void sigmoid_and_tanh(Vec<T> x, Vec<T> &sigmoid, Vec<T> &tanh) {
    Vec<T> part, scale;
    exponential_of<T>(-limited<T>(x, Exponential<T>::largest / 3 - 1), part, scale);
    const Vec<T> one = filled(T(1)), missing = (one - scale) - part * scale, e = one - missing;
    const Vec<T> first = one + e, second = one + e * e, over = one / (first * second);
    sigmoid = over * second, tanh = (over * first) * (first * missing);
}

} // namespace
