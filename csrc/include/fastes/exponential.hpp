// exp with the same bits on every instruction set: noise specification 1, section "Separable NES".
#pragma once

#include <cstdint>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// The smaller of x and a limit, the larger. Of a NaN either.
template <class V>
FASTES_INLINE typename V::f32 at_most(typename V::f32 x, float limit) {
    return V::choose_negative(V::add(x, V::set(-limit)), x, V::set(limit));
}
template <class V>
FASTES_INLINE typename V::f32 at_least(typename V::f32 x, float limit) {
    return V::choose_negative(V::add(x, V::set(-limit)), V::set(limit), x);
}

// x = n log 2 + r, |r| <= log(2) / 2, for x in [-87, 88]; gives 2^n. The sum with 1.5 2^23 rounds to a whole number,
// and leaves n + 127 in the lower bits, which are an exponent when shifted.
template <class V>
FASTES_INLINE typename V::f32 power_of_two(typename V::f32 x, typename V::f32& r) {
    using f32 = typename V::f32;
    constexpr float whole = 12582912.0f + 127.0f;
    const f32 shifted = V::fma(x, V::set(0x1.715476p0f), V::set(whole));
    const f32 n = V::add(shifted, V::set(-whole));
    r = V::fma(n, V::set(-0x1.62e4p-1f), x);  // log 2 in two parts, the product with the first exact
    r = V::fma(n, V::set(-0x1.7f7d1cp-20f), r);
    return V::floats_of(V::template shift_left<23>(V::words_of(shifted)));
}

// Beyond it exp is that of the limit: 2^-116 < exp < 2^116, so neither is subnormal.
inline constexpr float exponential_limit = 80.0f;

// exp(x) for |x| <= exponential_limit, exp of the limit beyond. Error <= 1.01 ulp, measured over all floats there
// are in between by csrc/tests/exhaustive.cpp. The coefficients are the output of tools/derive_polynomials.sollya.
template <class V>
FASTES_INLINE typename V::f32 clamped_exponential(typename V::f32 x) {
    using f32 = typename V::f32;
    // exp(r) = 1 + r + r^2 E(r).
    constexpr float E[5] = {0x1.fffffap-2f, 0x1.555492p-3f, 0x1.555a26p-5f, 0x1.12397cp-7f, 0x1.694c86p-10f};
    f32 r;
    const f32 scale = power_of_two<V>(at_least<V>(at_most<V>(x, exponential_limit), -exponential_limit), r);
    f32 e = V::fma(r, V::set(E[4]), V::set(E[3]));
    e = V::fma(e, r, V::set(E[2]));
    e = V::fma(e, r, V::set(E[1]));
    e = V::fma(e, r, V::set(E[0]));
    return V::mul(scale, V::add(V::fma(e, V::mul(r, r), r), V::set(1.0f)));
}

}  // namespace FASTES_ISA
}  // namespace fastes
