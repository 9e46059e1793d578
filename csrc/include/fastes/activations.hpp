// Activation functions with the same bits on every instruction set: only operations that IEEE 754 rounds exactly, as in
// the noise, so that a policy does not decide otherwise on another processor. Errors are measured by
// csrc/tests/mlp_test.cpp.
#pragma once

#include <cstdint>

#include "fastes/exponential.hpp"
#include "fastes/mlp_shape.hpp"
#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// exp(x) - 1 for x in [-87, 88]: 2^n ((exp(r) - 1) + 1) - 1.
template <class V>
[[gnu::always_inline]] inline typename V::f32 exp_minus_one(typename V::f32 x) {
    using f32 = typename V::f32;
    f32 r;
    const f32 scale = power_of_two<V>(x, r);
    // Taylor's series to r^7: the rest is below 2^-27 of the sum.
    f32 p = V::fma(r, V::set(1.0f / 5040.0f), V::set(1.0f / 720.0f));
    p = V::fma(p, r, V::set(1.0f / 120.0f));
    p = V::fma(p, r, V::set(1.0f / 24.0f));
    p = V::fma(p, r, V::set(1.0f / 6.0f));
    p = V::fma(p, r, V::set(0.5f));
    p = V::fma(p, V::mul(r, r), r);
    return V::fma(scale, p, V::add(scale, V::set(-1.0f)));
}

template <class V>
[[gnu::always_inline]] inline typename V::f32 exponential(typename V::f32 x) {
    return V::add(exp_minus_one<V>(at_least<V>(at_most<V>(x, 88.0f), -87.0f)), V::set(1.0f));
}

// tanh |x| = e / (e + 2) with e = exp(2 |x|) - 1; 1 in float32 from 9.02.
template <class V>
[[gnu::always_inline]] inline typename V::f32 hyperbolic_tangent(typename V::f32 x) {
    const auto words = V::words_of(x);
    const auto magnitude = at_most<V>(V::floats_of(V::select(0x7FFFFFFFu, words, V::broadcast32(0))), 10.0f);
    const auto e = exp_minus_one<V>(V::add(magnitude, magnitude));
    return V::with_sign_of(V::div(e, V::add(e, V::set(2.0f))), words);
}

template <class V>
[[gnu::always_inline]] inline typename V::f32 logistic(typename V::f32 x) {
    return V::div(V::set(1.0f), V::add(V::set(1.0f), exponential<V>(V::neg(x))));
}

// 1 - erf(a), a >= 0: Abramowitz and Stegun, 7.1.26; absolute error 1.5e-7.
template <class V>
[[gnu::always_inline]] inline typename V::f32 complementary_error(typename V::f32 a) {
    const auto t = V::div(V::set(1.0f), V::fma(a, V::set(0.3275911f), V::set(1.0f)));
    auto p = V::fma(t, V::set(1.061405429f), V::set(-1.453152027f));
    p = V::fma(p, t, V::set(1.421413741f));
    p = V::fma(p, t, V::set(-0.284496736f));
    p = V::fma(p, t, V::set(0.254829592f));
    return V::mul(V::mul(p, t), exponential<V>(V::neg(V::mul(a, a))));
}

// x Phi(x): half of 1 - erf(|x| / sqrt 2) of x, or all of x but that.
template <class V>
[[gnu::always_inline]] inline typename V::f32 gaussian_linear(typename V::f32 x) {
    const auto magnitude = V::floats_of(V::select(0x7FFFFFFFu, V::words_of(x), V::broadcast32(0)));
    const auto outside = V::mul(V::set(0.5f), complementary_error<V>(V::mul(magnitude, V::set(0.70710678f))));
    return V::mul(x, V::choose_negative(x, outside, V::add(V::set(1.0f), V::neg(outside))));
}

// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))): Hendrycks and Gimpel 2016, arXiv 1606.08415.
template <class V>
[[gnu::always_inline]] inline typename V::f32 gaussian_linear_by_tanh(typename V::f32 x) {
    const auto cubic = V::fma(V::mul(V::mul(x, x), V::set(0.044715f)), x, x);
    const auto half = V::mul(x, V::set(0.5f));
    return V::fma(half, hyperbolic_tangent<V>(V::mul(cubic, V::set(0.79788456f))), half);
}

// A NaN where x is one: choices by sign would hide it behind a limit.
template <class V>
[[gnu::always_inline]] inline typename V::f32 unless_nan(typename V::f32 x, typename V::f32 value) {
    return V::fma(x, V::set(0.0f), value);  // so does an infinity, which comes of a sum that has overflowed
}

// x: Vectors vectors, replaced.
template <class V, int Vectors>
[[gnu::always_inline]] inline void activate(Activation activation, typename V::f32* x) {
    using f32 = typename V::f32;
    const auto each = [x](auto function) __attribute__((always_inline)) {
        FASTES_UNROLL
        for (int v = 0; v < Vectors; ++v) x[v] = function(x[v]);
    };
    switch (activation) {
        case Activation::identity: return;
        case Activation::tanh: return each([](f32 a) { return unless_nan<V>(a, hyperbolic_tangent<V>(a)); });
        case Activation::relu:
            return each([](f32 a) { return unless_nan<V>(a, V::choose_negative(a, V::set(0.0f), a)); });
        case Activation::elu:
            return each([](f32 a) {
                const f32 low = exp_minus_one<V>(at_least<V>(at_most<V>(a, 0.0f), -87.0f));
                return unless_nan<V>(a, V::choose_negative(a, low, a));
            });
        case Activation::silu: return each([](f32 a) { return V::mul(a, logistic<V>(a)); });
        case Activation::gelu: return each([](f32 a) { return gaussian_linear<V>(a); });
        case Activation::gelu_tanh: return each([](f32 a) { return gaussian_linear_by_tanh<V>(a); });
        case Activation::sigmoid: return each([](f32 a) { return unless_nan<V>(a, logistic<V>(a)); });
    }
}

}  // namespace FASTES_ISA
}  // namespace fastes
