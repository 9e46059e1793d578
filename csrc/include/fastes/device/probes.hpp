// Kernels that show the noise itself on a GPU, to tests and benchmarks.
#pragma once

#include <cstdint>

#include "fastes/device/grid.hpp"
#include "fastes/device/noise.hpp"
#include "fastes/device/sum.hpp"

namespace fastes {
inline namespace FASTES_ISA {

// Philox of any counters: four words each.
struct PhiloxCounters : OneStep {
    static constexpr std::uint32_t threads = 256;
    struct Params {
        const std::uint32_t* counters;
        std::uint32_t* out;
        std::uint64_t count;
        std::uint32_t k0, k1;
        int rounds;
    };

    FASTES_CALLABLE PhiloxCounters(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t i = std::uint64_t{at.block_x} * threads + at.thread;
        if (i >= p.count) return;
        std::uint32_t words[4];
        for (int k = 0; k < 4; ++k) words[k] = p.counters[4 * i + k];
        if (p.rounds == 7) {
            philox4x32<7>(words, p.k0, p.k1);
        } else {
            philox4x32<10>(words, p.k0, p.k1);
        }
        for (int k = 0; k < 4; ++k) p.out[4 * i + k] = words[k];
    }

private:
    const Params& p;
    Place at;
};

// The words of a weighted sum of normals without the transform, folded by exclusive or: one word a thread. The ceiling
// of what any transform could reach.
struct WordsOnly {
    static constexpr std::uint32_t threads = sum_threads;
    using Shared = NormalShare::Shared;
    struct Params {
        NoiseAddress noise;
        WeightedNumbers rows;
        std::uint32_t* out;  // [blocks of the grid][threads]
    };

    FASTES_CALLABLE WordsOnly(const Params& params, const Place& place, Shared& memory)
        : p(params), at(place), shared(memory), folded(0) {
        share.begin(std::uint64_t{at.block_x} * threads, at.thread, p.noise, shared);
    }

    FASTES_CALLABLE std::uint32_t steps() const {
        return static_cast<std::uint32_t>((p.rows.count + chunk_rows - 1) / chunk_rows);
    }
    FASTES_CALLABLE void load(std::uint32_t step) {
        share.load(p.rows, Chunk(p.rows, step), 0, at.thread, p.noise, shared);
    }
    FASTES_CALLABLE void work(std::uint32_t step) {
        const Chunk chunk(p.rows, step);
        for (std::uint32_t k = 0; k < chunk.count; ++k) {
            std::uint32_t words[1][4];
            philox_words<ScalarLanes, 1>(&share.block, shared.rows[k].key(), p.noise.keys, words);
            for (const std::uint32_t word : words[0]) folded ^= word;
        }
    }
    FASTES_CALLABLE void finish() const { p.out[std::uint64_t{at.block_x} * threads + at.thread] = folded; }

private:
    const Params& p;
    Place at;
    Shared& shared;
    NormalShare share;
    std::uint32_t folded;
};

// The digests of csrc/tests/exhaustive.cpp: a thread goes through 2^16 words of the radius and of the direction.
struct TransformDigests : OneStep {
    static constexpr std::uint32_t threads = 64;
    static constexpr std::uint64_t chunk_words = std::uint64_t{1} << 16;
    struct Params {
        std::uint64_t stride, total;  // words 0, stride, 2 stride ..: `total` of them
        std::uint64_t* out;           // [chunks][2]: radius, direction; they add up to the digests
    };

    FASTES_CALLABLE TransformDigests(const Params& params, const Place& place, Shared&) : p(params), at(place) {}

    FASTES_CALLABLE void finish() const {
        const std::uint64_t chunk = std::uint64_t{at.block_x} * threads + at.thread, begin = chunk * chunk_words;
        if (begin >= p.total) return;
        const std::uint64_t count = p.total - begin < chunk_words ? p.total - begin : chunk_words;
        std::uint64_t radii = start, directions = start;
        for (std::uint64_t i = 0; i < count; ++i) add(radii, radius<ScalarLanes>(word(begin + i)));
        for (int half = 0; half < 2; ++half) {
            for (std::uint64_t i = 0; i < count; ++i) {
                float first, second;
                direction<ScalarLanes>(word(begin + i), first, second);
                add(directions, half == 0 ? first : second);
            }
        }
        p.out[2 * chunk] = mixed(radii ^ mixed(begin * p.stride));
        p.out[2 * chunk + 1] = mixed(directions ^ mixed(begin * p.stride));
    }

private:
    static constexpr std::uint64_t start = 0xCBF29CE484222325u;

    FASTES_CALLABLE std::uint32_t word(std::uint64_t i) const { return static_cast<std::uint32_t>(i * p.stride); }
    FASTES_CALLABLE static void add(std::uint64_t& hash, float x) { hash = (hash ^ bits_of(x)) * 0x100000001B3u; }
    FASTES_CALLABLE static std::uint64_t mixed(std::uint64_t x) {  // the finalizer of SplitMix64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
        x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
        return x ^ (x >> 31);
    }

    const Params& p;
    Place at;
};

}  // namespace FASTES_ISA
}  // namespace fastes
