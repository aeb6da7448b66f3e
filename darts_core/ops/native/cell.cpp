// A cell of a supernet, forward and backward: its nodes are weighted sums of blocks, pools and other maps, each with a BatchNorm of its own.
// What library.py passes is declared here, field by field; numbers of several channels are in the order of the channels.

#include "chain.h"
#include "fit.h"
#include "pools.h"
#include "sums.h"

extern "C" {
struct PoolArguments {
    int64_t state, is_max, stride;
    double eps;
    void *raw;       // ahead of the BatchNorms
    double *moments; // of raw over the batch: C means, C reciprocal standard deviations
};
enum Kind : int64_t { BLOCKS, POOL, STATE, MAP };
struct Term {
    int64_t kind, number, count;       // the first block and how many; or the pool, the state, the map
    int64_t state;                     // that the blocks begin with
    double weight;
    void *running_mean, *running_var;  // of a pool's BatchNorm
    int64_t *tracked;
    double momentum;
    int64_t is_training;               // of a pool's BatchNorm
};
struct State {
    void *x;
    int64_t height, width, place; // place: of its channels in the output, or -1
    void *grad;                   // of the state; null where nobody asks
};
struct CellArguments {
    int64_t batch, channels, threads;
    int64_t leaves, nodes, places; // the states: leaves, then nodes, each of which reads earlier ones only
    int64_t out_is_rectified;
    State *state;
    const int64_t *terms; // of each node
    const Term *term;     // node after node
    BlockArguments *block;
    int64_t pools;
    PoolArguments *pool;
    const void *const *map;
    void *const *grad_map; // or null
    void *out;             // (batch, height, width, places * channels)
    const void *grad_out;
    double *grad_weight; // of each term
};
}

namespace {

template <class T> struct Cell {
    const CellArguments &a;
    const int64_t channels;

    explicit Cell(const CellArguments &arguments) : a(arguments), channels(arguments.channels) {}

    int64_t pixels(const State &state) const { return a.batch * state.height * state.width; }
    // How many maps as large as this state's the cache is to hold, from when they are written, or read, to when they are read again.
    int64_t together(const State &state) const { return std::clamp<int64_t>(CACHED_BYTES / (pixels(state) * channels * int64_t(sizeof(T))), 2, 16); }
    Norm norm(const double *moments) const { return moments ? Norm{moments, moments + channels} : Norm{}; }
    static const T *map(const void *x) { return static_cast<const T *>(x); }

    Pool pool(const PoolArguments &p) const {
        const State &state = a.state[p.state];
        return Pool{p.is_max != 0,  a.batch,  channels, state.height, state.width, p.stride, (state.height - 1) / p.stride + 1, (state.width - 1) / p.stride + 1};
    }

    // forward

    void pools_of(int64_t state) const {
        std::vector<double> sums(static_cast<size_t>(2 * channels));
        for (int64_t i = 0; i < a.pools; ++i) {
            const PoolArguments &p = a.pool[i];
            if (p.state != state) continue;
            const Pool shape = pool(p);
            pool_forward<T>(shape, map(a.state[state].x), static_cast<T *>(p.raw), sums.data(), sums.data() + channels, a.threads);
            const double count = double(a.batch * shape.out_height * shape.out_width);
            for (int64_t c = 0; c < channels; ++c) {
                const double mean = sums[size_t(c)] / count, rest = sums[size_t(channels + c)] / count - mean * mean;
                p.moments[c] = mean, p.moments[channels + c] = 1.0 / std::sqrt((rest < 0.0 ? 0.0 : rest) + p.eps);
            }
        }
    }

    // Scale and shift of a pool's BatchNorm, whose buffers move.
    void normalise(const Term &term, double *mean, double *rstd) const {
        const PoolArguments &p = a.pool[term.number];
        const Pool shape = pool(p);
        T *running_mean = static_cast<T *>(term.running_mean), *running_var = static_cast<T *>(term.running_var);
        const double count = double(a.batch * shape.out_height * shape.out_width);
        if (term.is_training && term.tracked) ++*term.tracked;
        for (int64_t c = 0; c < channels; ++c) {
            if (!term.is_training) {
                mean[c] = running_mean[c], rstd[c] = 1.0 / std::sqrt(double(running_var[c]) + p.eps);
                continue;
            }
            mean[c] = p.moments[c], rstd[c] = p.moments[channels + c];
            const double variance = (1.0 / (rstd[c] * rstd[c]) - p.eps) * (count / (count - 1.0));
            running_mean[c] = T((1.0 - term.momentum) * double(running_mean[c]) + term.momentum * mean[c]);
            running_var[c] = T((1.0 - term.momentum) * double(running_var[c]) + term.momentum * variance);
        }
    }

    bool forward_blocks(const Term &term) const {
        const void *x = a.state[term.state].x;
        const double *before = nullptr;
        for (int64_t k = term.number; k < term.number + term.count; ++k) {
            const BlockArguments &b = a.block[k];
            if (b.is_training && b.tracked) ++*b.tracked;
            if (dispatch<T, RunForward>(b.geometry, Forward{norm(before), x, b.depthwise, b.pointwise, b.y, b.moments,
                                                            b.moments + channels, b.running_mean, b.running_var, b.eps, b.momentum, b.is_training != 0}))
                return false;
            x = b.y, before = b.moments;
        }
        return true;
    }

    bool forward() const {
        for (int64_t i = 0; i < a.leaves; ++i) pools_of(i);
        const Term *term = a.term;
        std::vector<double> normal(static_cast<size_t>(2 * channels)), scales, shifts;
        std::vector<const void *> maps;
        for (int64_t i = 0; i < a.nodes; ++i) {
            const State &state = a.state[a.leaves + i];
            const size_t most = size_t(together(state));
            bool adds = false;
            shifts.assign(size_t(channels), 0.0);
            const auto flush = [&] {
                weighted_sum<T>(pixels(state), channels, int64_t(maps.size()), maps.data(), scales.data(), shifts.data(), state.x, adds, a.threads);
                adds = true;
                maps.clear(), scales.clear(), shifts.assign(size_t(channels), 0.0);
            };
            for (const Term *end = term + a.terms[i]; term < end; ++term) {
                const double *mean = nullptr, *rstd = nullptr;
                if (term->kind == BLOCKS) {
                    if (!forward_blocks(*term)) return false;
                    const BlockArguments &last = a.block[term->number + term->count - 1];
                    maps.push_back(last.y), mean = last.moments, rstd = last.moments + channels;
                } else if (term->kind == POOL) {
                    normalise(*term, normal.data(), normal.data() + channels);
                    maps.push_back(a.pool[term->number].raw), mean = normal.data(), rstd = normal.data() + channels;
                } else {
                    maps.push_back(term->kind == STATE ? a.state[term->number].x : a.map[term->number]);
                }
                for (int64_t c = 0; c < channels; ++c) {
                    scales.push_back(rstd ? term->weight * rstd[c] : term->weight);
                    if (rstd) shifts[size_t(c)] -= term->weight * rstd[c] * mean[c];
                }
                if (maps.size() == most) flush();
            }
            if (!maps.empty() || !adds) flush();
            pools_of(a.leaves + i);
        }
        write_output();
        return true;
    }

    void write_output() const {
        const int64_t wide = a.places * channels;
        for (int64_t i = 0; i < a.leaves + a.nodes; ++i) {
            const State &state = a.state[i];
            if (state.place < 0) continue;
            T *out = static_cast<T *>(a.out) + state.place * channels;
            const T *x = map(state.x);
            in_parts(pixels(state), parts_of(pixels(state), a.threads), [&](int64_t first, int64_t last, int64_t) {
                for (int64_t p = first; p < last; ++p)
                    for (int64_t c = 0; c < channels; ++c) {
                        const T value = x[p * channels + c];
                        out[p * wide + c] = a.out_is_rectified && value < T(0) ? T(0) : value;
                    }
            });
        }
    }

    // backward

    struct Sums { // over the batch, (channels,) each
        std::vector<double> grad, product;
    };

    const double *moments_of(const Term &t) const {
        return t.kind == BLOCKS ? a.block[t.number + t.count - 1].moments : t.kind == POOL ? a.pool[t.number].moments : nullptr;
    }

    // The sums over the batch of a node's gradient, and of its product with what each of some terms read, less its mean.
    std::vector<std::vector<double>> along_terms(const State &node, const Term *terms, int64_t count, double *grad_sum) const {
        std::vector<std::vector<double>> sums(static_cast<size_t>(count), std::vector<double>(size_t(channels)));
        std::vector<Product> of;
        if (grad_sum) of.push_back({nullptr, nullptr, grad_sum});
        for (int64_t k = 0; k < count; ++k) {
            const Term &t = terms[k];
            const void *read = t.kind == BLOCKS  ? a.block[t.number + t.count - 1].y
                               : t.kind == POOL  ? a.pool[t.number].raw
                               : t.kind == STATE ? a.state[t.number].x
                                                 : a.map[t.number];
            of.push_back({read, moments_of(t), sums[size_t(k)].data()});
        }
        products<T>(pixels(node), channels, node.grad, of, a.threads);
        return sums;
    }

    bool backward() const {
        const int64_t states = a.leaves + a.nodes;
        std::vector<char> has_rectified(static_cast<size_t>(states), 0);
        std::vector<Sums> of_pool(static_cast<size_t>(a.pools), Sums{std::vector<double>(size_t(channels), 0.0), std::vector<double>(size_t(channels), 0.0)});
        std::vector<const Term *> starts;
        const Term *term = a.term;
        for (int64_t i = 0; i < a.nodes; ++i) starts.push_back(term), term += a.terms[i];
        for (int64_t i = a.nodes - 1; i >= 0; --i) {
            const State &state = a.state[a.leaves + i];
            finish(a.leaves + i, starts, has_rectified[size_t(a.leaves + i)], of_pool);
            std::vector<double> grad_sum(static_cast<size_t>(channels), 0.0);
            std::vector<std::vector<double>> product;
            const Term *read = starts[size_t(i)], *const end = read + a.terms[i]; // terms up to `read` have their products
            for (const Term *t = read, *from = read; t < end; ++t) {
                if (t == read) {
                    from = t, read = std::min(end, t + together(state));
                    product = along_terms(state, from, read - from, from == starts[size_t(i)] ? grad_sum.data() : nullptr);
                }
                const double *moments = moments_of(*t);
                const std::vector<double> &centred = product[size_t(t - from)];
                double along = 0.0;
                for (int64_t c = 0; c < channels; ++c) {
                    const double own = moments ? moments[channels + c] * centred[size_t(c)] : centred[size_t(c)];
                    along += own;
                    if (t->kind != POOL) continue;
                    Sums &sums = of_pool[size_t(t->number)];
                    sums.grad[size_t(c)] += t->weight * grad_sum[size_t(c)], sums.product[size_t(c)] += t->weight * own;
                }
                a.grad_weight[t - a.term] = along;
                if (t->kind == BLOCKS && !backward_blocks(*t, state, grad_sum, centred, has_rectified)) return false;
                if (t->kind == MAP && a.grad_map[t->number]) {
                    const void *grad = state.grad;
                    const std::vector<double> by(static_cast<size_t>(channels), t->weight), zero(static_cast<size_t>(channels), 0.0);
                    weighted_sum<T>(pixels(state), channels, 1, &grad, by.data(), zero.data(), a.grad_map[t->number], false, a.threads);
                }
            }
        }
        for (int64_t i = 0; i < a.leaves; ++i)
            if (a.state[i].grad) finish(i, starts, has_rectified[size_t(i)], of_pool);
        return true;
    }

    bool backward_blocks(const Term &term, const State &node, const std::vector<double> &grad_sum, const std::vector<double> &product,
                         std::vector<char> &has_rectified) const {
        const int64_t first = term.number, last = term.number + term.count - 1;
        void *const into = a.state[term.state].grad;
        int64_t stop = last + 1; // the first block of which, or through which, somebody asks for a gradient
        for (int64_t k = last; k >= first; --k)
            if (a.block[k].grad_depthwise) stop = k;
        if (into) stop = first;
        std::vector<double> sums(grad_sum);
        sums.insert(sums.end(), product.begin(), product.end());
        const void *along = node.grad;
        double weight = term.weight;
        Buffer<T> between(stop < last ? pixels(node) * channels / Vector<T>::lanes + 1 : 0, false);
        Buffer<T> unwanted(stop == first && !into ? pixels(a.state[term.state]) * channels / Vector<T>::lanes + 1 : 0, false);
        for (int64_t k = last; k >= stop; --k) {
            const BlockArguments &b = a.block[k];
            const bool is_first = k == first;
            const double *before = is_first ? nullptr : a.block[k - 1].moments;
            // A map between two blocks is written over the gradient that it comes from: no row is needed after that.
            void *const to = !is_first ? between.get() : into ? into : unwanted.get();
            const std::vector<double> own(sums);
            const bool adds = is_first && into && has_rectified[size_t(term.state)];
            if (dispatch<T, RunBackward>(b.geometry, Backward{norm(before), is_first ? a.state[term.state].x : a.block[k - 1].y,
                                                              b.depthwise, b.pointwise, b.y, along, weight, norm(b.moments), own.data(),
                                                              own.data() + channels, to, adds, is_first ? nullptr : sums.data(),
                                                              is_first ? nullptr : sums.data() + channels, b.grad_depthwise, b.grad_pointwise}))
                return false;
            along = to, weight = 1.0;
            if (is_first && into) has_rectified[size_t(term.state)] = 1;
        }
        return true;
    }

    // The gradient of a state, once that of every node which reads it is known.
    void finish(int64_t number, const std::vector<const Term *> &starts, bool has_rectified, const std::vector<Sums> &of_pool) const {
        const State &state = a.state[number];
        StateGradient<T> s{a.batch, channels, state.height, state.width, map(state.x), static_cast<T *>(state.grad), has_rectified, nullptr,
                           a.places * channels, a.out_is_rectified != 0, {}, {}};
        if (state.place >= 0) s.out_grad = map(a.grad_out) + state.place * channels;
        std::vector<std::vector<double>> held;
        for (int64_t i = 0; i < a.pools; ++i) {
            const PoolArguments &p = a.pool[i];
            if (p.state != number) continue;
            const Pool shape = pool(p);
            const double count = double(a.batch * shape.out_height * shape.out_width);
            std::vector<double> of(static_cast<size_t>(3 * channels));
            for (int64_t c = 0; c < channels; ++c) {
                const double rstd = p.moments[channels + c], along = of_pool[size_t(i)].product[size_t(c)] * rstd * rstd / count;
                of[size_t(c)] = rstd, of[size_t(channels + c)] = -along;
                of[size_t(2 * channels + c)] = along * p.moments[c] - rstd * of_pool[size_t(i)].grad[size_t(c)] / count;
            }
            held.push_back(std::move(of));
            const double *coefficients = held.back().data();
            s.pools.push_back(PoolGradient<T>{shape, map(p.raw), readers(starts, POOL, i), coefficients, coefficients + channels, coefficients + 2 * channels});
        }
        s.readers = readers(starts, STATE, number);
        state_backward<T>(s, a.threads);
    }

    std::vector<Reader<T>> readers(const std::vector<const Term *> &starts, Kind kind, int64_t number) const {
        std::vector<Reader<T>> found;
        for (int64_t i = 0; i < a.nodes; ++i)
            for (const Term *t = starts[size_t(i)]; t < starts[size_t(i)] + a.terms[i]; ++t)
                if (t->kind == kind && t->number == number) found.push_back(Reader<T>{t->weight, map(a.state[a.leaves + i].grad)});
        return found;
    }
};

enum Outcome { DONE, NO_KERNEL, NO_MEMORY, FAILED };

template <class Task> int guarded(const Task &task) {
    try {
        return task() ? DONE : NO_KERNEL;
    } catch (const std::bad_alloc &) {
        return NO_MEMORY;
    } catch (...) {
        return FAILED;
    }
}

} // namespace

extern "C" {
int cell_forward_float32(const CellArguments *a) {
    return guarded([&] { return Cell<float>(*a).forward(); });
}
int cell_forward_float64(const CellArguments *a) {
    return guarded([&] { return Cell<double>(*a).forward(); });
}
int cell_backward_float32(const CellArguments *a) {
    return guarded([&] { return Cell<float>(*a).backward(); });
}
int cell_backward_float64(const CellArguments *a) {
    return guarded([&] { return Cell<double>(*a).backward(); });
}
void use_runner(Runner given) { runner = given; }
int chain_forward_float32(const ChainArguments *a) {
    return guarded([&] { return Chain<float>(*a).forward(); });
}
int chain_forward_float64(const ChainArguments *a) {
    return guarded([&] { return Chain<double>(*a).forward(); });
}
int chain_backward_float32(const ChainArguments *a) {
    return guarded([&] { return Chain<float>(*a).backward(); });
}
int chain_backward_float64(const ChainArguments *a) {
    return guarded([&] { return Chain<double>(*a).backward(); });
}
int fit_forward_float32(const FitArguments *a) {
    return guarded([&] { return Fit<float>(*a).forward(); });
}
int fit_forward_float64(const FitArguments *a) {
    return guarded([&] { return Fit<double>(*a).forward(); });
}
int fit_backward_float32(const FitArguments *a) {
    return guarded([&] { return Fit<float>(*a).backward(); });
}
int fit_backward_float64(const FitArguments *a) {
    return guarded([&] { return Fit<double>(*a).backward(); });
}
}
