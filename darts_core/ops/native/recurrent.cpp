// A relaxed recurrent cell, a node at a time, forward and backward, but for the gradient of state 0's weights; and the decoder with its loss. What
// recurrent.py passes is declared here, field by field, what decoder.py passes in decoder.h.

#include "decoder.h"

extern "C" {
// Of a window: steps T, batch B, width D, nodes N, edges E = N (N + 1) / 2; node i = 1..N reads states 0..i-1 by edges i(i-1)/2 + j.
struct StepsArguments {
    int64_t steps, batch, width, nodes, threads;
    const void *const *w;     // of state 0 and of each node, (D, 2D) row by row
    void *packed;             // (N + 1, pack): these, as the products of the pass read them
    int64_t pack;
    const double *weights;    // (E, 4) of tanh, relu, sigmoid, identity
    const void *mask;         // (B, D) of what products read, or null
    const void *mean, *var;   // (D,) of the BatchNorm in evaluation mode, or null
    double eps;
    const void *product;      // (T, B, 2D): of the inputs
    const void *first;        // (B, D): the state ahead of the window
    void *gates;              // (T, B, 2D): products of state 0; once read, sigmoids and hyperbolic tangents
    void *made;               // (T, E, B, 2D): products of the edges; the first half of a row, once read, are sigmoids
    void *states;             // (T, N + 1, B, D)
    void *rstd, *mean_out, *var_out; // (T, N + 1, D)
    void *outputs;            // (T, B, D)
    void *seen;               // (N + 1, B, D): the present states times the mask
    void *seen_before;        // (B, D): the last output times the mask
    const void *grad_outputs; // (T, B, D)
    void *base;               // (B, D): what the output adds to the gradient of every node
    void *direct, *back;      // (N + 1, B, D): gradients of the present states past products, and through them ahead of the mask
    void *direct_before, *back_before; // (B, D): likewise, of the output before
    void *grad_node;          // (B, D)
    void *grad_made;          // (N, B, 2D)
    void *grad_gates;         // (T, B, 2D)
    double *grad_weights;     // (E, 4), added to; or null
    void *const *grad_w;      // of each node, (D, 2D), added to; or null
    void *packed_grad;        // a node's grad_made, as these sums read it; for N B (2D + WIDEST_PANEL) numbers
};
}

namespace {

template <class T> struct Steps {
    const StepsArguments &a;
    const int64_t t, B, D, plane; // plane: numbers of a state
    using V = Vec<T>;

    Steps(const StepsArguments &arguments, int64_t step) : a(arguments), t(step), B(arguments.batch), D(arguments.width), plane(B * D) {}

    static T *at(const void *start, int64_t offset) { return static_cast<T *>(const_cast<void *>(start)) + offset; }
    // The weights of a product forward, or transposed, as backward; `pack` has filled them in.
    Packed<T> packed(int64_t i, bool forward) const { return {forward ? D : 2 * D, forward ? 2 * D : D, at(a.packed, i * a.pack)}; }
    int pack(bool forward) const {
        for (int64_t i = 0; i <= a.nodes; ++i) {
            if (packed(i, forward).size() > a.pack) return FAILED;
            packed(i, forward).fill(at(a.w[i], 0), forward ? 2 * D : 1, forward ? 1 : 2 * D);
        }
        return DONE;
    }
    void product(const T *seen, int64_t rows, int64_t i, T *out, bool adds) const { multiply<T>({seen, D, 1}, rows, packed(i, true), out, 2 * D, adds, a.threads); }
    void through_product(const T *grad, int64_t rows, int64_t i, T *out, bool adds) const {
        multiply<T>({grad, 2 * D, 1}, rows, packed(i, false), out, D, adds, a.threads);
    }
    T *state(int64_t i) const { return at(a.states, (t * (a.nodes + 1) + i) * plane); }
    T *of_columns(void *start, int64_t i) const { return at(start, (t * (a.nodes + 1) + i) * D); }
    T *made(int64_t i) const { return at(a.made, (t * (a.nodes * (a.nodes + 1) / 2) + i * (i - 1) / 2) * 2 * plane); }
    const T *before() const { return t ? at(a.outputs, (t - 1) * plane) : at(a.first, 0); }

    // Calls work(first, last, part) for ranges of columns, which have nothing to do with each other.
    template <class Work> int64_t by_columns(int64_t sources, const Work &work) const {
        constexpr int64_t lanes = Vector<T>::lanes;
        const int64_t vectors = (D + lanes - 1) / lanes, parts = std::min(parts_of(vectors, a.threads), sources * plane / ELEMENTS_A_THREAD + 1);
        in_parts(vectors, parts, [&](int64_t first, int64_t last, int64_t part) { work(first * lanes, std::min(last * lanes, D), part); });
        return parts;
    }

    // What `x`, (B, D), is after the BatchNorm: state i, and what products see of it. `x` may be the state.
    void normalise(const T *x, int64_t i, int64_t first, int64_t last) const {
        T *to = state(i), *seen = at(a.seen, i * plane), *rstd = of_columns(a.rstd, i), *mean = of_columns(a.mean_out, i), *var = of_columns(a.var_out, i);
        const T *mask = static_cast<const T *>(a.mask);
        const V share = filled(T(1) / T(B)), eps = filled(T(a.eps));
        along<T>(first, last, [&](int64_t d, auto n) {
            V m = {}, v = {};
            if (a.mean) {
                m = load_some(at(a.mean, d), n), v = load_some(at(a.var, d), n);
            } else {
                for (int64_t b = 0; b < B; ++b) m += load_some(x + b * D + d, n);
                m *= share;
                for (int64_t b = 0; b < B; ++b) {
                    const V off = load_some(x + b * D + d, n) - m;
                    v += off * off;
                }
                v *= share;
            }
            V r = v + eps;
            for (int k = 0; k < Vector<T>::lanes; ++k) r[k] = std::sqrt(r[k]);
            r = filled(T(1)) / r;
            store_some(mean + d, m, n), store_some(var + d, v, n), store_some(rstd + d, r, n);
            for (int64_t b = 0; b < B; ++b) {
                const V s = (load_some(x + b * D + d, n) - m) * r;
                store_some(to + b * D + d, s, n);
                if (a.mask) store_some(seen + b * D + d, s * load_some(mask + b * D + d, n), n);
                else store_some(seen + b * D + d, s, n);
            }
        });
    }

    int first_forward() const {
        T *gates = at(a.gates, t * 2 * plane), *x = state(0);
        const T *h = before();
        std::memcpy(gates, at(a.product, t * 2 * plane), size_t(2 * plane) * sizeof(T));
        product(at(a.seen_before, 0), B, 0, gates, true);
        by_columns(1, [&](int64_t first, int64_t last, int64_t) {
            for (int64_t b = 0; b < B; ++b)
                along<T>(first, last, [&](int64_t d, auto n) {
                    T *row = gates + b * 2 * D + d;
                    const V c = sigmoid<T>(load_some(row, n)), old = load_some(h + b * D + d, n);
                    V unused, g;
                    sigmoid_and_tanh<T>(load_some(row + D, n), unused, g);
                    store_some(row, c, n), store_some(row + D, g, n), store_some(x + b * D + d, old + c * (g - old), n);
                });
            normalise(x, 0, first, last);
        });
        return DONE;
    }

    int node_forward(int64_t i) const {
        T *x = state(i);
        product(at(a.seen, 0), i * B, i, made(i), false);
        by_columns(i, [&](int64_t first, int64_t last, int64_t) {
            for (int64_t j = 0; j < i; ++j) {
                const double *p = a.weights + (i * (i - 1) / 2 + j) * 4;
                const V tanhs = filled(T(p[0])), relus = filled(T(p[1])), sigmoids = filled(T(p[2])), identities = filled(T(p[3])), sum = filled(T(p[0] + p[1] + p[2] + p[3]));
                T *rows = made(i) + j * 2 * plane;
                const T *s = state(j);
                for (int64_t b = 0; b < B; ++b)
                    along<T>(first, last, [&](int64_t d, auto n) {
                        T *row = rows + b * 2 * D + d;
                        const V c = sigmoid<T>(load_some(row, n)), h = load_some(row + D, n), passing = sum * load_some(s + b * D + d, n);
                        V sig, tan;
                        sigmoid_and_tanh<T>(h, sig, tan);
                        const V mixed = tanhs * tan + relus * (h > V{} ? h : V{}) + sigmoids * sig + identities * h;
                        V out = passing + c * (mixed - passing);
                        store_some(row, c, n);
                        if (j) out += load_some(x + b * D + d, n);
                        store_some(x + b * D + d, out, n);
                    });
            }
            normalise(x, i, first, last);
            if (i == a.nodes) mean_of_nodes(first, last);
        });
        return DONE;
    }

    void mean_of_nodes(int64_t first, int64_t last) const {
        const V share = filled(T(1) / T(a.nodes));
        T *to = at(a.outputs, t * plane), *seen = at(a.seen_before, 0);
        const T *mask = static_cast<const T *>(a.mask), *from = state(1);
        for (int64_t b = 0; b < B; ++b)
            along<T>(first, last, [&](int64_t d, auto n) {
                V sum = {};
                for (int64_t i = 0; i < a.nodes; ++i) sum += load_some(from + i * plane + b * D + d, n);
                sum *= share;
                store_some(to + b * D + d, sum, n);
                store_some(seen + b * D + d, mask ? sum * load_some(mask + b * D + d, n) : sum, n);
            });
    }

    // backward

    // The gradient of what state i was before the BatchNorm.
    void through_norm(int64_t i, int64_t first, int64_t last) const {
        T *to = at(a.grad_node, 0);
        const T *base = at(a.base, 0), *direct = at(a.direct, i * plane), *back = at(a.back, i * plane), *mask = static_cast<const T *>(a.mask);
        const T *xhat = state(i), *rstd = of_columns(a.rstd, i);
        const V share = filled(T(1) / T(B));
        along<T>(first, last, [&](int64_t d, auto n) {
            V sum = {}, product = {};
            for (int64_t b = 0; b < B; ++b) {
                const int64_t k = b * D + d;
                V g = i ? load_some(base + k, n) : V{};
                if (i < a.nodes) {
                    const V through = load_some(back + k, n);
                    g += load_some(direct + k, n) + (mask ? through * load_some(mask + k, n) : through);
                }
                sum += g, product += g * load_some(xhat + k, n);
                store_some(to + k, g, n);
            }
            const V r = load_some(rstd + d, n);
            sum *= share, product *= share;
            if (a.mean) sum = V{}, product = V{};
            for (int64_t b = 0; b < B; ++b) {
                const int64_t k = b * D + d;
                store_some(to + k, (load_some(to + k, n) - sum - load_some(xhat + k, n) * product) * r, n);
            }
        });
    }

    void start_backward(int64_t first, int64_t last) const {
        T *to = at(a.base, 0);
        const T *out = at(a.grad_outputs, t * plane), *direct = at(a.direct_before, 0), *back = at(a.back_before, 0), *mask = static_cast<const T *>(a.mask);
        const V share = filled(T(1) / T(a.nodes));
        const bool is_last = t + 1 == a.steps;
        for (int64_t b = 0; b < B; ++b)
            along<T>(first, last, [&](int64_t d, auto n) {
                const int64_t k = b * D + d;
                V g = load_some(out + k, n);
                if (!is_last) {
                    const V through = load_some(back + k, n);
                    g += load_some(direct + k, n) + (mask ? through * load_some(mask + k, n) : through);
                }
                store_some(to + k, g * share, n);
            });
    }

    // Makes what products have seen of the states, all but the last.
    void see_again(int64_t first, int64_t last) const {
        const T *mask = static_cast<const T *>(a.mask), *from = state(0);
        T *to = at(a.seen, 0);
        for (int64_t row = 0; row < a.nodes * B; ++row)
            along<T>(first, last, [&](int64_t d, auto n) {
                const V s = load_some(from + row * D + d, n);
                store_some(to + row * D + d, mask ? s * load_some(mask + row % B * D + d, n) : s, n);
            });
    }

    int node_backward(int64_t i) const {
        std::vector<double> sums(size_t(parts_of(D, a.threads) * i * 4), 0.0);
        const int64_t parts = by_columns(i, [&](int64_t first, int64_t last, int64_t part) {
            if (i == a.nodes) start_backward(first, last);
            if (i == a.nodes && a.grad_w) see_again(first, last);
            through_norm(i, first, last);
            for (int64_t j = 0; j < i; ++j) edge_backward(i, j, first, last, sums.data() + (part * i + j) * 4);
        });
        through_product(at(a.grad_made, 0), i * B, i, at(a.back, 0), i != a.nodes);
        if (a.grad_w) {
            const Packed<T> grad(i * B, 2 * D, at(a.packed_grad, 0));
            add_product<T>({at(a.seen, 0), 1, D}, D, at(a.grad_made, 0), grad, at(a.grad_w[i - 1], 0), a.threads);
        }
        if (!a.grad_weights) return DONE;
        double *to = a.grad_weights + i * (i - 1) / 2 * 4;
        for (int64_t part = 0; part < parts; ++part)
            for (int64_t k = 0; k < i * 4; ++k) to[k] += sums[size_t(part * i * 4 + k)];
        return DONE;
    }

    void edge_backward(int64_t i, int64_t j, int64_t first, int64_t last, double *sums) const {
        const double *p = a.weights + (i * (i - 1) / 2 + j) * 4;
        const V tanhs = filled(T(p[0])), relus = filled(T(p[1])), sigmoids = filled(T(p[2])), identities = filled(T(p[3])), sum = filled(T(p[0] + p[1] + p[2] + p[3]));
        const V one = filled(T(1)), zero = {};
        const T *made_rows = made(i) + j * 2 * plane, *s_rows = state(j), *grad = at(a.grad_node, 0);
        T *to = at(a.grad_made, j * 2 * plane), *direct = at(a.direct, j * plane);
        const bool adds = i != a.nodes;
        for (int64_t b = 0; b < B; ++b) {
            V by[5] = {};
            along<T>(first, last, [&](int64_t d, auto n) {
                const int64_t k = b * D + d, twice = b * 2 * D + d;
                const V g = load_some(grad + k, n), c = load_some(made_rows + twice, n), h = load_some(made_rows + twice + D, n), s = load_some(s_rows + k, n);
                V sig, tan;
                sigmoid_and_tanh<T>(h, sig, tan);
                const V rectified = h > zero ? h : zero;
                const V mixed = tanhs * tan + relus * rectified + sigmoids * sig + identities * h;
                const V opened = g * c, rest = g - opened;
                const V slope = tanhs * (one - tan * tan) + (h > zero ? relus : zero) + sigmoids * (sig * (one - sig)) + identities;
                store_some(to + twice, opened * (mixed - sum * s) * (one - c), n);
                store_some(to + twice + D, opened * slope, n);
                V past = rest * sum;
                if (adds) past += load_some(direct + k, n);
                store_some(direct + k, past, n);
                by[0] += opened * tan, by[1] += opened * rectified, by[2] += opened * sig, by[3] += opened * h, by[4] += rest * s;
            });
            double whole[5] = {};
            for (int o = 0; o < 5; ++o)
                for (int lane = 0; lane < Vector<T>::lanes; ++lane) whole[o] += double(by[o][lane]);
            for (int o = 0; o < 4; ++o) sums[o] += whole[o] + whole[4];
        }
    }

    int first_backward() const {
        const T *gates = at(a.gates, t * 2 * plane), *h = before(), *grad = at(a.grad_node, 0);
        T *to = at(a.grad_gates, t * 2 * plane), *direct = at(a.direct_before, 0);
        const V one = filled(T(1));
        by_columns(1, [&](int64_t first, int64_t last, int64_t) {
            through_norm(0, first, last);
            for (int64_t b = 0; b < B; ++b)
                along<T>(first, last, [&](int64_t d, auto n) {
                    const int64_t k = b * D + d, twice = b * 2 * D + d;
                    const V g = load_some(grad + k, n), c = load_some(gates + twice, n), tan = load_some(gates + twice + D, n), opened = g * c;
                    store_some(to + twice, opened * (tan - load_some(h + k, n)) * (one - c), n);
                    store_some(to + twice + D, opened * (one - tan * tan), n);
                    store_some(direct + k, g - opened, n);
                });
        });
        through_product(to, B, 0, at(a.back_before, 0), false);
        return DONE;
    }
};

template <class Task> int guarded(const Task &task) {
    try {
        return task();
    } catch (const std::bad_alloc &) {
        return NO_MEMORY;
    } catch (...) {
        return FAILED;
    }
}

// Nodes 1 to N; 0 is state 0, and -1, ahead of all others, lays the weights out.
template <class T> int forward(const StepsArguments &a, int64_t step, int64_t node) {
    if (node < 0) return guarded([&] { return Steps<T>(a, 0).pack(true); });
    return guarded([&] { return node ? Steps<T>(a, step).node_forward(node) : Steps<T>(a, step).first_forward(); });
}
template <class T> int backward(const StepsArguments &a, int64_t step, int64_t node) {
    if (node < 0) return guarded([&] { return Steps<T>(a, 0).pack(false); });
    return guarded([&] { return node ? Steps<T>(a, step).node_backward(node) : Steps<T>(a, step).first_backward(); });
}

} // namespace

extern "C" {
void use_runner(Runner given) { runner = given; }
int recurrent_forward_float32(const StepsArguments *a, int64_t step, int64_t node) { return forward<float>(*a, step, node); }
int recurrent_forward_float64(const StepsArguments *a, int64_t step, int64_t node) { return forward<double>(*a, step, node); }
int recurrent_backward_float32(const StepsArguments *a, int64_t step, int64_t node) { return backward<float>(*a, step, node); }
int recurrent_backward_float64(const StepsArguments *a, int64_t step, int64_t node) { return backward<double>(*a, step, node); }
int decoder_float32(const DecoderArguments *a) {
    return guarded([&] { return decode<float>(*a); });
}
int decoder_float64(const DecoderArguments *a) {
    return guarded([&] { return decode<double>(*a); });
}
}
