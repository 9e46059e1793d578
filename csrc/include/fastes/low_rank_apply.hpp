// Perturbations of low rank applied to inputs: noise specification 1, section "Low rank: applied to inputs".
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/kernel_table.hpp"
#include "fastes/outputs.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// body.template operator()<W>(i) for W of V, then of one lane, until all of `count` are covered.
template <class V, class Body>
FASTES_INLINE void for_lanes(std::size_t count, const Body& body) {
    std::size_t i = 0;
    for (; i + V::width <= count; i += V::width) body.template operator()<V>(i);
    for (; i < count; ++i) body.template operator()<ScalarLanes>(i);
}

// The sum of x[j] b[j]: chains of elements j mod 1024, folded by halves. Eight chains that the first three halvings put
// together are in registers at a time. b goes on with low_rank_padding times -1 beyond n: x is continued by +0, and
// such a product changes no sum, not even -0. next: the row of x after this one, which is fetched meanwhile.
template <class V, class T>
inline float product_of_chains(const T* x, const float* b, std::size_t n, const T* next) {
    using f32 = typename V::f32;
    constexpr std::size_t apart = low_rank_chains / 8;
    static_assert(apart % V::width == 0 && V::width <= low_rank_padding);
    const std::size_t rest = n % low_rank_chains, whole = n - rest;
    alignas(64) float last[low_rank_chains], sums[apart];
    for (std::size_t i = 0; i < rest; ++i) last[i] = ScalarLanes::load(x + whole + i);
    for (std::size_t i = rest; i < low_rank_chains && i < rest + V::width; ++i) last[i] = 0.0f;
    for (std::size_t c = 0; c < apart; c += V::width) {
        f32 chain[8];
        for (f32& s : chain) s = V::set(0.0f);
        for (std::size_t j = c; j < whole; j += low_rank_chains) {
            for (std::size_t k = 0; k < 8; ++k) {
                __builtin_prefetch(next + j + k * apart, 0, 2);  // to the second cache: the first is full of this row
                chain[k] = V::fma(V::load(x + j + k * apart), V::load(b + j + k * apart), chain[k]);
            }
        }
        for (std::size_t k = 0; k < 8 && c + k * apart < rest; ++k) {
            chain[k] = V::fma(V::load(last + c + k * apart), V::load(b + whole + c + k * apart), chain[k]);
        }
        for (std::size_t half = 4; half > 0; half /= 2) {
            for (std::size_t k = 0; k < half; ++k) chain[k] = V::add(chain[k], chain[k + half]);
        }
        V::store(sums + c, chain[0]);
    }
    for (std::size_t half = apart / 2; half > 0; half /= 2) {
        for_lanes<V>(half, [&]<class W>(std::size_t i) {
            W::store(sums + i, W::add(W::load(sums + i), W::load(sums + i + half)));
        });
    }
    return sums[0];
}

// y[i] += scale sum_a t[a] columns[a][i], the columns low_rank_tile apart. next: what is fetched meanwhile, as above.
template <class V, class T>
inline void add_columns(T* y, std::size_t count, float scale, const float* t, const float* columns, std::size_t rank,
                        const T* next) {
    const AddScaled<T> add{y, scale};
    for_lanes<V>(count, [&]<class W>(std::size_t i) {
        __builtin_prefetch(next + i, 1, 2);
        auto u = W::set(0.0f);
        for (std::size_t a = 0; a < rank; ++a) {
            u = W::fma(W::set(t[a]), W::load(columns + a * low_rank_tile + i), u);
        }
        add.template operator()<W>(static_cast<std::int64_t>(i), u);
    });
}

// fill(address, row, span, out) makes noise. Scratch: a column of B or a tile of all columns of A, then the products.
template <class V, class T, class Fill>
inline void apply_low_rank(const Address& address, const LowRankInputs& inputs, const Fill& fill) {
    const std::size_t m = inputs.m, n = inputs.n, rank = inputs.rank;
    const auto* x = static_cast<const T*>(inputs.x);
    auto* y = static_cast<T*>(inputs.y);
    float* noise = inputs.scratch;
    float* products =
        noise + low_rank_padding + (n > rank * low_rank_tile ? n : rank * low_rank_tile);  // [count][rank]
    for (std::size_t i = 0; i < low_rank_padding; ++i) noise[n + i] = -1.0f;
    for (std::size_t a = 0; a < rank; ++a) {
        fill(address, inputs.key, {inputs.first + a * (m + n) + m, 0, n}, noise);
        for (std::size_t l = 0; l < inputs.count; ++l) {
            const T* row = x + l * n;
            products[l * rank + a] = product_of_chains<V>(row, noise, n, l + 1 < inputs.count ? row + n : row);
        }
    }
    for (std::size_t i = 0; i < m; i += low_rank_tile) {
        const std::size_t count = m - i < low_rank_tile ? m - i : low_rank_tile;
        for (std::size_t a = 0; a < rank; ++a) {
            fill(address, inputs.key, {inputs.first + a * (m + n) + i, 0, count}, noise + a * low_rank_tile);
        }
        for (std::size_t l = 0; l < inputs.count; ++l) {
            const float scale = inputs.scales[(inputs.at + l) / inputs.of_member] * inputs.root;
            T* row = y + l * m + i;
            const T* next = l + 1 < inputs.count ? row + m : row;
            add_columns<V>(row, count, scale, products + l * rank, noise, rank, next);
        }
    }
}

}  // namespace FASTES_ISA
}  // namespace fastes
