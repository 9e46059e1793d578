// Sine and cosine of binary64: src/fastes/envs/trigonometry.py once more, operation for operation, where the method and
// its errors are stated. Only operations that IEEE 754 rounds exactly, so the bits are those of the compiled
// environments on any processor and GPU. Products and sums are fused where `fused` stands and nowhere else.
#pragma once

#include <cstdint>
#include <cstring>

#include "fastes/target.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// a b + c with one rounding.
FASTES_INLINE double fused(double a, double b, double c) {
#if defined(__CUDA_ARCH__)
    return __fma_rn(a, b, c);
#else
    return __builtin_fma(a, b, c);
#endif
}

FASTES_INLINE double rounded_down(double x) {
#if defined(__CUDA_ARCH__)
    return ::floor(x);
#else
    return __builtin_floor(x);
#endif
}

inline constexpr double pi = 0x1.921fb54442d18p+1;

// pi/2 in three parts and 2/pi, and what is left of -1/6 in binary64.
inline constexpr double half_pi_1 = 0x1.921fb54442d18p+0;
inline constexpr double half_pi_2 = 0x1.1a62633145c07p-54;
inline constexpr double half_pi_3 = -0x1.f1976b7ed8fbcp-110;
inline constexpr double two_over_pi = 0x1.45f306dc9c883p-1;
inline constexpr double sixth = -1.0 / 6.0;
inline constexpr double sixth_rest = -0x1.5555555555555p-57;
inline constexpr double twenty_fourth = 1.0 / 24.0;

// Added to a number below 2^51, it leaves the nearest integer in the lowest bits.
inline constexpr double rounder = 0x1.8p+52;

// x - q pi/2 as r + rest.
struct Reduced {
    std::int64_t q;  // its two lowest bits count
    double r, rest;
};

struct SinCos {
    double sine, cosine;
};

// |x| < 10^6.
FASTES_INLINE Reduced reduced(double x) {
    const double shifted = fused(x, two_over_pi, rounder);
    const double q = shifted - rounder;
    const double near = fused(-q, half_pi_1, x);  // exact
    const double second = q * half_pi_2;
    const double r = near - second;
    const double taken = r - near;
    double rest = (near - (r - taken)) - (second + taken);  // of near - second
    rest -= fused(q, half_pi_3, fused(q, half_pi_2, -second));
    const double total = r + rest;
    std::int64_t bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    return {bits, total, (r - total) + rest};
}

// sin(r + rest) for |r| <= pi/4; z + z_rest = r^2.
FASTES_INLINE double sine(double r, double rest, double z, double z_rest) {
    double sum = fused(z, -0x1.ab93d49f91603p-41, 0x1.61225b0525a0fp-33);
    sum = fused(z, sum, -0x1.ae645533efd62p-26);
    sum = fused(z, sum, 0x1.71de3a550ca29p-19);
    sum = fused(z, sum, -0x1.a01a01a019ed6p-13);
    sum = fused(z, sum, 0x1.1111111111111p-7);
    const double tail = z * sum;
    const double factor = sixth + tail;
    const double factor_rest = (sixth - factor) + tail + sixth_rest;
    const double square = z * factor;
    const double square_rest = fused(z, factor, -square) + fused(z, factor_rest, z_rest * factor);
    const double cube = r * square;
    const double cube_rest = fused(r, square, -cube) + r * square_rest;
    const double total = r + cube;
    return total + ((r - total) + cube + (cube_rest + fused(-0.5 * z, rest, rest)));
}

// cos(r + rest) for |r| <= pi/4; z + z_rest = r^2.
FASTES_INLINE double cosine(double r, double rest, double z, double z_rest) {
    double sum = fused(z, 0x1.abe6a6e3da0fbp-45, -0x1.93957db60453fp-37);
    sum = fused(z, sum, 0x1.1eed8e6c319fap-29);
    sum = fused(z, sum, -0x1.27e4fb775f5a7p-22);
    sum = fused(z, sum, 0x1.a01a01a019f8ap-16);
    sum = fused(z, sum, -0x1.6c16c16c16c17p-10);
    const double tail = z * sum;
    const double factor = twenty_fourth + tail;
    const double factor_rest = (twenty_fourth - factor) + tail;
    const double fourth = z * z;
    const double fourth_rest = fused(2.0 * z, z_rest, fused(z, z, -fourth));
    const double term = fourth * factor;
    const double term_rest = fused(fourth, factor, -term) + fused(fourth, factor_rest, fourth_rest * factor);
    const double slope = fused(sixth * z, rest, rest);  // of -cos, over r
    const double half = 0.5 * z;
    const double one = 1.0 - half;
    const double one_rest = (1.0 - one) - half;
    const double total = one + term;
    return total + ((one - total) + term + (one_rest + (term_rest - fused(r, slope, 0.5 * z_rest))));
}

// For |x| <= pi/4, the same bits as sin_cos.
FASTES_INLINE SinCos sin_cos_near(double x) {
    const double z = x * x;
    const double z_rest = fused(x, x, -z);
    return {sine(x, 0.0, z, z_rest), cosine(x, 0.0, z, z_rest)};
}

// For |x| < 10^6; NaN for what is not finite.
FASTES_INLINE SinCos sin_cos(double x) {
    const Reduced at = reduced(x);
    const double z = at.r * at.r;
    const double z_rest = fused(at.r, at.r, -z);
    const double s = sine(at.r, at.rest, z, z_rest), c = cosine(at.r, at.rest, z, z_rest);
    const bool odd = (at.q & 1) != 0;
    const double sin_x = odd ? c : s, cos_x = odd ? s : c;
    return {(at.q & 2) != 0 ? -sin_x : sin_x, ((at.q + 1) & 2) != 0 ? -cos_x : cos_x};
}

}  // namespace FASTES_ISA
}  // namespace fastes
