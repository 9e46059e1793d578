// Errors of the transform's functions against double precision, on the scalar lanes. Built with the fma
// instruction where there is one, for speed: its bits are those of the emulation, as the digests show.
#define FASTES_ISA isa_exhaustive

#include "exhaustive.hpp"

#include <cmath>

#include "fastes/exponential.hpp"
#include "fastes/normal.hpp"
#include "simd/scalar.hpp"

namespace {

using Lanes = fastes::ScalarLanes;

void note(LargestError& largest, float computed, double exact, std::uint32_t word) {
    int exponent;
    std::frexp(exact, &exponent);
    const double error = std::fabs(static_cast<double>(computed) - exact) * std::ldexp(1.0, 24 - exponent);
    if (error > largest.ulp) largest = {error, word};
}

}  // namespace

TransformErrors measure_errors(std::uint64_t first, std::uint64_t count, std::uint64_t stride) {
    TransformErrors errors;
    for (std::uint64_t i = 0; i < count; ++i) {
        const auto word = static_cast<std::uint32_t>(first + i * stride);
        const float a = Lanes::fma(Lanes::from_signed(word), fastes::radius_scale, fastes::radius_offset);
        const double y = -2.0 * std::log(std::fabs(static_cast<double>(a)) / 2.0);
        note(errors.log, fastes::minus_two_log_half<Lanes>(a), y, word);
        const float radius = std::fabs(fastes::radius<Lanes>(word));
        note(errors.radius, radius, std::sqrt(y), word);
        errors.smallest_radius = std::fmin(errors.smallest_radius, radius);
        errors.largest_radius = std::fmax(errors.largest_radius, radius);

        const double x = Lanes::mul(Lanes::from_signed(word), fastes::angle_scale);
        float sin, cos;
        fastes::sin_cos<Lanes>(word, sin, cos);
        if (x != 0.0) note(errors.sin, sin, std::sin(x), word);
        note(errors.cos, cos, std::cos(x), word);

        const float power = fastes::float_of(word);
        if (std::fabs(power) <= fastes::exponential_limit) {
            note(errors.exp, fastes::clamped_exponential<Lanes>(power), std::exp(static_cast<double>(power)), word);
        }
    }
    return errors;
}
