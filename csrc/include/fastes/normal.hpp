// Two words to two normals (Box and Muller 1958): noise specification 1, section "Normal".
//
// Every operation is one that IEEE 754 rounds exactly on every target, and their order is part of the
// specification. The coefficients are the output of tools/derive_polynomials.sollya; the errors named here are
// measured over all 2^32 words by csrc/tests/exhaustive.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fastes/philox.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// u = |w + 1/2| / 2^31, w the word as a signed integer, kept below 1 by one rounding unit. We work on 2u.
inline constexpr float radius_scale = 0x1.fffffep-31f;
inline constexpr float radius_offset = 0x1p-31f;
inline constexpr float two_log_two = 0x1.62e430p0f;
// x = (pi/4) 2^-31 w, |x| <= pi/4.
inline constexpr float angle_scale = 0x1.921fb6p-32f;

// -2 log u for the float 2u = a, the sign of a ignored; a in [2^-32, 2). Error <= 1.2 ulp.
template <class V>
FASTES_INLINE typename V::f32 minus_two_log_half(typename V::f32 a) {
    using f32 = typename V::f32;
    // -2 log(1 - n/2) = n + n^2 L(n) for n in (0, 1].
    constexpr float L[9] = {
        0x1.00001ep-2f,  0x1.5542fcp-4f, 0x1.01e912p-5f,  0x1.684526p-7f, 0x1.5bf774p-7f,
        -0x1.2ebf56p-7f, 0x1.f8079cp-7f, -0x1.3caf4ep-7f, 0x1.be09cap-9f,
    };
    f32 exponent, mantissa;  // u = mantissa 2^exponent, mantissa in [1/2, 1)
    V::split(a, exponent, mantissa);
    const f32 n = V::fma(mantissa, V::set(-2.0f), V::set(2.0f));  // exact
    const f32 n2 = V::mul(n, n);
    f32 even = V::fma(V::set(L[8]), n2, V::set(L[6]));  // even and odd powers apart: half the latency of one chain
    f32 odd = V::fma(V::set(L[7]), n2, V::set(L[5]));
    even = V::fma(even, n2, V::set(L[4]));
    odd = V::fma(odd, n2, V::set(L[3]));
    even = V::fma(even, n2, V::set(L[2]));
    odd = V::fma(odd, n2, V::set(L[1]));
    even = V::fma(even, n2, V::set(L[0]));
    const f32 l = V::fma(n2, V::fma(odd, n, even), n);
    return V::fma(exponent, V::set(-two_log_two), l);
}

// Signed radius of a word: sqrt(-2 log u) with the sign of the word, so that the word's top bit chooses the half-plane.
// Magnitude from 2^-11.5 to sqrt(64 log 2) = 6.66.
template <class V>
FASTES_INLINE typename V::f32 radius(typename V::u32 word) {
    const auto a = V::fma(V::from_signed(word), V::set(radius_scale), V::set(radius_offset));
    return V::with_sign_of(V::sqrt(minus_two_log_half<V>(a)), word);
}

// sin x and cos x of a word's angle x in [-pi/4, pi/4]. Errors <= 1.2 ulp.
template <class V>
FASTES_INLINE void sin_cos(typename V::u32 word, typename V::f32& sin, typename V::f32& cos) {
    // sin x = x + x^3 S(x^2), cos x = 1 + x^2 C(x^2).
    constexpr float S[3] = {-0x1.555546p-3f, 0x1.11077ap-7f, -0x1.9954e8p-13f};
    constexpr float C[4] = {-0x1.000000p-1f, 0x1.55554ap-5f, -0x1.6c0c2ap-10f, 0x1.99e914p-16f};
    const auto x = V::mul(V::from_signed(word), V::set(angle_scale));
    const auto x2 = V::mul(x, x);
    auto s = V::fma(V::set(S[2]), x2, V::set(S[1]));
    auto c = V::fma(V::set(C[3]), x2, V::set(C[2]));
    s = V::fma(s, x2, V::set(S[0]));
    c = V::fma(c, x2, V::set(C[1]));
    c = V::fma(c, x2, V::set(C[0]));
    sin = V::fma(V::mul(x, x2), s, x);
    cos = V::fma(x2, c, V::set(1.0f));
}

// Unit vector of an angle word: (sin x, cos x), exchanged where the word is odd. With the radius' sign it covers the
// circle: two half-planes, two signs of x, two orders.
template <class V>
FASTES_INLINE void direction(typename V::u32 word, typename V::f32& first, typename V::f32& second) {
    typename V::f32 sin, cos;
    sin_cos<V>(word, sin, cos);
    V::exchange_if_odd(word, sin, cos);
    first = sin;
    second = cos;
}

// z[k]: element k of each block.
template <class V>
FASTES_INLINE void normals(const typename V::u32* words, typename V::f32* z) {
    for (int pair = 0; pair < 2; ++pair) {
        typename V::f32 first, second;
        const auto r = radius<V>(words[2 * pair]);
        direction<V>(words[2 * pair + 1], first, second);
        z[2 * pair] = V::mul(r, first);
        z[2 * pair + 1] = V::mul(r, second);
    }
}

// The kind of noise: what groups.hpp and accumulate.hpp ask of one.
template <class V>
struct Normal {
    using f32 = typename V::f32;
    static constexpr int block_elements = 4;
    static constexpr int interleave = V::interleave;
    static constexpr int sum_interleave = V::sum_interleave;
    static constexpr float step = 1.0f;  // what the vectors' values count for

    // The values of a group, in element order.
    struct Group {
        f32 z[4];

        explicit Group(typename V::u32* words) {
            normals<V>(words, z);
            V::transpose(z);
        }
        f32 vector(int i) const { return z[i]; }
    };

    // Sums over rows, element k of each block of group g in sum[g][k].
    template <int G>
    struct Totals {
        f32 sum[G][4];

        struct Ordered {
            f32 z[4];
            f32 vector(int i) const { return z[i]; }
        };

        Totals() {
            for (int g = 0; g < G; ++g) {
                for (int k = 0; k < 4; ++k) sum[g][k] = V::set(0.0f);
            }
        }
        Ordered group(int g) const {
            Ordered ordered{{sum[g][0], sum[g][1], sum[g][2], sum[g][3]}};
            V::transpose(ordered.z);
            return ordered;
        }
    };

    template <int G>
    using SquareTotals = Totals<G>;

    // One chain of fused multiply-adds from +0. The words of the next row are made beside the normals of this one: the
    // first is bound by integer products, the second by fused multiply-adds. A function by itself, so that its code
    // does not depend on who calls it.
    template <int G>
    [[gnu::noinline]] static void add_chunk(const BlockKeys<V>* blocks, const WeightedRows& rows, const RoundKeys& keys,
                                            Totals<G>& totals) {
        f32 sum[G][4];
        for (int g = 0; g < G; ++g) {
            for (int k = 0; k < 4; ++k) sum[g][k] = V::set(0.0f);
        }
        const auto add_row = [&](float factor, const typename V::u32(*words)[4]) __attribute__((always_inline)) {
            const f32 weight = V::set(factor);
            for (int g = 0; g < G; ++g) {
                f32 z[4];
                normals<V>(words[g], z);
                for (int k = 0; k < 4; ++k) sum[g][k] = V::fma(weight, z[k], sum[g][k]);
            }
        };
        typename V::u32 next[G][4];
        philox_words<V, G>(blocks, rows.keys[0], keys, next);
        for (std::size_t row = 1; row < rows.count; ++row) {
            typename V::u32 words[G][4];
            for (int g = 0; g < G; ++g) {
                for (int k = 0; k < 4; ++k) words[g][k] = next[g][k];
            }
            philox_words<V, G>(blocks, rows.keys[row], keys, next);
            add_row(rows.weights[row - 1], words);
        }
        add_row(rows.weights[rows.count - 1], next);
        for (int g = 0; g < G; ++g) {
            for (int k = 0; k < 4; ++k) totals.sum[g][k] = V::add(totals.sum[g][k], sum[g][k]);
        }
    }

    // The same, and beside it the chain of squares less 1.
    template <int G>
    [[gnu::noinline]] static void add_chunk_and_squares(const BlockKeys<V>* blocks, const WeightedRows& rows,
                                                        const float* square_weights, const RoundKeys& keys,
                                                        Totals<G>& totals, SquareTotals<G>& squares) {
        static_assert(G == 1);
        f32 sum[4], square_sum[4];
        for (int k = 0; k < 4; ++k) sum[k] = square_sum[k] = V::set(0.0f);
        const auto add_row = [&](std::size_t row, const typename V::u32(*words)[4]) __attribute__((always_inline)) {
            const f32 weight = V::set(rows.weights[row]), square_weight = V::set(square_weights[row]);
            f32 z[4];
            normals<V>(words[0], z);
            for (int k = 0; k < 4; ++k) {
                sum[k] = V::fma(weight, z[k], sum[k]);
                square_sum[k] = V::fma(square_weight, V::fma(z[k], z[k], V::set(-1.0f)), square_sum[k]);
            }
        };
        typename V::u32 next[1][4];
        philox_words<V, 1>(blocks, rows.keys[0], keys, next);
        for (std::size_t row = 1; row < rows.count; ++row) {
            typename V::u32 words[1][4];
            for (int k = 0; k < 4; ++k) words[0][k] = next[0][k];
            philox_words<V, 1>(blocks, rows.keys[row], keys, next);
            add_row(row - 1, words);
        }
        add_row(rows.count - 1, next);
        for (int k = 0; k < 4; ++k) {
            totals.sum[0][k] = V::add(totals.sum[0][k], sum[k]);
            squares.sum[0][k] = V::add(squares.sum[0][k], square_sum[k]);
        }
    }
};

}  // namespace FASTES_ISA
}  // namespace fastes
