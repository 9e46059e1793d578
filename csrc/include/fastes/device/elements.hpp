// Noise that is written out: a thread makes four elements of one row after another.
#pragma once

#include <cstdint>

#include "fastes/device/grid.hpp"
#include "fastes/device/noise.hpp"
#include "fastes/device/quad_lanes.hpp"
#include "fastes/device/rows.hpp"
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
// members of a mirrored pair are, share one making of their noise. each_its_sigma: scales[k] sigma[j] takes the place
// of scales[k].
template <class Quad, class T, bool each_its_sigma = false>
struct PerturbMembers {
    static constexpr std::uint32_t threads = 256;
    static constexpr std::uint32_t members_of_step = chunk_rows, resident_threads = 1536;
    struct Shared {
        SharedRow rows[members_of_step];
    };
    struct Params {
        NoiseAddress noise;
        WeightedNumbers members;  // rows and scales
        QuadSpan span;
        std::uint64_t members_of_block;
        const float* theta;  // [span.count]
        T* out;              // [members.count][span.count]
        bool aligned;
        const float* sigma;  // [span.count] or null
    };

    FASTES_CALLABLE PerturbMembers(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory) {
        const std::uint64_t i = std::uint64_t{at.block_x} * threads + at.thread, quad = p.span.number(i);
        const auto count = static_cast<std::int64_t>(p.span.count);
        position = p.span.position(i);
        wanted = position < count;
        whole = p.aligned && position >= 0 && position + 4 <= count;
        part = static_cast<std::uint32_t>(quad % quads_of_block<Quad>);
        block = {static_cast<std::uint32_t>(quad / quads_of_block<Quad>), p.noise.generation, p.noise.keys};
        if (whole) center = QuadLanes::load(p.theta + position);
        if constexpr (each_its_sigma) {
            if (whole) own = QuadLanes::load(p.sigma + position);
        }
    }

    FASTES_CALLABLE std::uint32_t steps() const {
        return static_cast<std::uint32_t>((end() - begin() + members_of_step - 1) / members_of_step);
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        const std::uint64_t member = begin() + std::uint64_t{step} * members_of_step + at.thread;
        if (at.thread < members_of_step && member < end()) {
            shared.rows[at.thread] = SharedRow::of(p.members, member, p.noise, Quad::Noise::step);
        }
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        if (!wanted) return;
        const std::uint64_t first = begin() + std::uint64_t{step} * members_of_step;
        const auto count =
            static_cast<std::uint32_t>(end() - first < members_of_step ? end() - first : members_of_step);
        T* out = p.out + first * p.span.count;
        float z[4] = {};
        std::uint32_t made = ~shared.rows[0].c0;  // none yet; c0 is another for every row
        if (whole) {
            T* to = out + position;
            const std::uint64_t stride = p.span.count;
            for (std::uint32_t k = 0; k < count; ++k, to += stride) {
                const SharedRow row = shared.rows[k];
                if (row.c0 != made) make(row, made, z);
                const QuadLanes::f32 epsilon{{z[0], z[1], z[2], z[3]}};
                auto scale = QuadLanes::set(row.weight);
                if constexpr (each_its_sigma) scale = QuadLanes::mul(scale, own);
                QuadLanes::store(to, QuadLanes::fma(scale, epsilon, center));
            }
            return;
        }
        for (std::uint32_t k = 0; k < count; ++k, out += p.span.count) {
            const SharedRow row = shared.rows[k];
            if (row.c0 != made) make(row, made, z);
            const PerturbRow<T, false> member{p.theta, out, row.weight};
            if constexpr (each_its_sigma) {
                emit_quad(z, position, p.span.count, false, PerturbRowEach<T, false>{member, p.sigma});
            } else {
                emit_quad(z, position, p.span.count, false, member);
            }
        }
    }
    FASTES_CALLABLE void finish() const {}

private:
    FASTES_INLINE void make(const SharedRow& row, std::uint32_t& made, float* z) const {
        std::uint32_t words[1][4];
        philox_words<ScalarLanes, 1>(&block, row.key(), p.noise.keys, words);
        Quad::values(words[0], part, z);
        made = row.c0;
    }
    FASTES_CALLABLE std::uint64_t begin() const { return at.block_y * p.members_of_block; }
    FASTES_CALLABLE std::uint64_t end() const {
        const std::uint64_t rest = p.members.count - begin();
        return begin() + (rest < p.members_of_block ? rest : p.members_of_block);
    }

    const Params& p;
    Place at;
    Shared& shared;
    std::int64_t position;
    std::uint32_t part;  // of the block of Philox
    bool wanted, whole;  // some of the four elements; all of them, and aligned
    BlockKeys<ScalarLanes> block;
    QuadLanes::f32 center{}, own{};  // theta, sigma
};

}  // namespace FASTES_ISA
}  // namespace fastes
