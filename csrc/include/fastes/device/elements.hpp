// Noise that is written out: a thread makes four elements of one row after another.
#pragma once

#include <cstdint>

#include "fastes/device/grid.hpp"
#include "fastes/device/noise.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/outputs.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// out[k][j] = epsilon[rows[k], first + j].
template <class Quad>
struct FillRows : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        NoiseAddress noise;
        RowNumbers rows;
        QuadSpan span;
        std::uint64_t row_count, rows_of_block;
        float* out;  // [row_count][span.count]
        bool aligned;
    };

    FASTES_CALLABLE FillRows(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t i = std::uint64_t{at.block_x} * threads + at.thread;
        if (i >= p.span.quads()) return;
        const std::uint64_t begin = at.block_y * p.rows_of_block;
        for (std::uint64_t k = begin; k < begin + p.rows_of_block && k < p.row_count; ++k) {
            float z[4];
            quad_values<Quad>(p.span.number(i), p.rows[k], p.noise, z);
            emit_quad(z, p.span.position(i), p.span.count, p.aligned,
                      Fill<typename Quad::Noise>{p.out + k * p.span.count});
        }
    }

private:
    const Params& p;
    Place at;
};

// out[k][j] = theta[j] + scales[k] epsilon[rows[k], first + j]. Neighbours in the list with the same row, as the two
// members of a mirrored pair are, share one making of their noise.
template <class Quad, class T>
struct PerturbMembers : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        NoiseAddress noise;
        RowNumbers rows;
        QuadSpan span;
        std::uint64_t member_count, members_of_block;
        const float* theta;   // [span.count]
        const float* scales;  // [member_count]
        T* out;               // [member_count][span.count]
        bool aligned;
    };

    FASTES_CALLABLE PerturbMembers(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t i = std::uint64_t{at.block_x} * threads + at.thread;
        if (i >= p.span.quads()) return;
        const std::uint64_t begin = at.block_y * p.members_of_block;
        float z[4] = {};
        std::uint32_t made = 0;
        for (std::uint64_t k = begin; k < begin + p.members_of_block && k < p.member_count; ++k) {
            const std::uint32_t row = p.rows[k];
            if (k == begin || row != made) quad_values<Quad>(p.span.number(i), row, p.noise, z);
            made = row;
            const float scale = rounded_product(p.scales[k], Quad::Noise::step);
            emit_quad(z, p.span.position(i), p.span.count, p.aligned,
                      PerturbRow<T, false>{p.theta, p.out + k * p.span.count, scale});
        }
    }

private:
    const Params& p;
    Place at;
};

}  // namespace FASTES_ISA
}  // namespace fastes
